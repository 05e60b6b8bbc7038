// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { dir, END, entry, file, padded, tar } from './tar_writer.js'
import { Bench, build, differences, list, run } from './workbench.js'

const test = suite('squash layer formats')
const bench = new Bench(build())
test.after(() => bench.close())

/** A tree with files that end at, before and behind block borders. */
function sample(): string {
  const root = bench.path('sample')
  fs.mkdirSync(`${root}/sub`, { recursive: true })
  for (const size of [0, 1, 511, 4096, 131_071, 131_072, 131_073, 262_144, 1_000_000])
    fs.writeFileSync(`${root}/sub/${size}`, randomBytes(size))
  fs.linkSync(`${root}/sub/4096`, `${root}/linked`)
  return root
}

function contentIs(root: string, image = bench.path('image')): void {
  const seen = list(bench.mount(image))
  bench.unmount()
  assert.equal(differences(seen, list(root), true), [])
}

test('plain, gzip, multi-member gzip, zstd, multi-frame zstd with skippable frames and any label give one image', () => {
  const root = sample()
  const plain = bench.path('plain.tar')
  run('tar', '-C', root, '--numeric-owner', '-cf', plain, '.')
  const half = Math.floor(fs.statSync(plain).size / 2)
  const skippable = Buffer.from('502a4d1805000000', 'hex')
  fs.writeFileSync(bench.path('skip'), Buffer.concat([skippable, Buffer.from('hello')]))
  const shell = (command: string): void => void run('sh', '-ec', `cd ${bench.directory}; ${command}`)
  shell(`head -c ${half} plain.tar > h1; tail -c +${half + 1} plain.tar > h2`)
  shell(
    'gzip -c plain.tar > gzip; (gzip -1c h1; gzip -9c h2) > members; cat members > padded; head -c 1000 /dev/zero >> padded',
  )
  shell(
    'gzip -c1 --name plain.tar > named; zstd -qc plain.tar > zstd; (cat skip; zstd -qc h1; cat skip; zstd -qc19 h2; cat skip) > frames',
  )
  const reference = bench.path('reference')
  assert.is(bench.convert([plain], {}, reference).error, '')
  contentIs(root, reference)
  for (const form of ['gzip', 'members', 'padded', 'named', 'zstd', 'frames'])
    for (const chunk of [37, 65536]) {
      const done = bench.convert([bench.path(form)], { chunk })
      assert.is(done.error, '', form)
      assert.is(done.diffIds[0], run('sha256sum', plain).slice(0, 64))
      assert.equal(
        fs.readFileSync(bench.path('image')),
        fs.readFileSync(reference),
        `${form} in pieces of ${chunk}`,
      )
    }
})

test('every archive format of GNU tar, with sparse files in all four spellings', () => {
  const root = bench.path('sparse')
  fs.mkdirSync(root)
  const sparse = fs.openSync(`${root}/holes`, 'w')
  for (let i = 0; i < 60; i++) fs.writeSync(sparse, randomBytes(5000), 0, 5000, i * 700_001)
  fs.ftruncateSync(sparse, 50_000_000)
  fs.closeSync(sparse)
  for (const [name, size] of [
    ['all-hole', 3_000_000],
    ['small-hole', 100_000],
  ] as const) {
    fs.writeFileSync(`${root}/${name}`, '')
    fs.truncateSync(`${root}/${name}`, size)
  }
  fs.writeFileSync(`${root}/${'l'.repeat(200)}`, 'long')
  fs.symlinkSync('t'.repeat(300), `${root}/long-target`)
  const forms = [
    'gnu',
    'oldgnu',
    'posix',
    'posix --sparse-version=0.0',
    'posix --sparse-version=0.1',
    'posix --sparse-version=1.0',
  ]
  for (const form of forms) {
    run('sh', '-ec', `cd ${root}; tar --numeric-owner --format=${form} -S -cf ${bench.path('sparse.tar')} .`)
    const done = bench.convert([bench.path('sparse.tar')])
    assert.is(done.error, '', form)
    assert.is(done.size < 1_200_000, true)
    contentIs(root)
  }
})

test('a sparse file of a terabyte costs kilobytes', () => {
  const size = 2 ** 40
  const layer = Buffer.concat([
    entry({
      name: 'huge',
      pax: {
        'GNU.sparse.major': '1',
        'GNU.sparse.minor': '0',
        'GNU.sparse.name': 'huge',
        'GNU.sparse.realsize': String(size),
      },
      content: Buffer.concat([padded(Buffer.from(`1\n${size - 5}\n5\n`)), Buffer.from('tail!')]),
    }),
    END,
  ])
  const done = bench.convert(bench.save([layer]))
  assert.is(done.error, '')
  const root = bench.mount()
  const status = fs.statSync(`${root}/huge`)
  assert.is(status.size, size)
  assert.is(status.blocks < 1000, true)
  const fd = fs.openSync(`${root}/huge`, 'r')
  const tail = Buffer.alloc(10)
  fs.readSync(fd, tail, 0, 10, size - 10)
  assert.is(tail.toString(), '\0\0\0\0\0tail!')
  fs.closeSync(fd)
  bench.unmount()
  const bomb = entry({
    name: 'bomb',
    pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': String(2 ** 52) },
    content: padded(Buffer.from('0\n')),
  })
  assert.match(bench.convert(bench.save([Buffer.concat([bomb, END])])).error, /^EFBIG /)
})

test('a file over 4 GiB keeps its last bytes', () => {
  const size = 2 ** 32 + 100_000
  const path = bench.path('large.tar')
  fs.writeFileSync(path, entry({ name: 'large', size }))
  const fd = fs.openSync(path, 'r+')
  fs.writeSync(fd, Buffer.from('the end'), 0, 7, 512 + size - 7)
  fs.ftruncateSync(fd, 512 + size + (512 - (size % 512)) + 1024)
  fs.closeSync(fd)
  const done = bench.convert([path], { chunk: 1 << 20 })
  assert.is(done.error, '')
  const root = bench.mount()
  const seen = fs.openSync(`${root}/large`, 'r')
  const tail = Buffer.alloc(7)
  fs.readSync(seen, tail, 0, 7, size - 7)
  assert.is(tail.toString(), 'the end')
  assert.is(fs.fstatSync(seen).size, size)
  fs.closeSync(seen)
  bench.unmount()
  fs.rmSync(path)
})

test('a layer that arrives byte by byte is decoded', () => {
  const layer = tar(file('a', 'content'.repeat(500)), file('b', 'x'))
  for (const form of [
    layer,
    gzipSync(layer),
    Buffer.concat([gzipSync(layer.subarray(0, 999)), gzipSync(layer.subarray(999))]),
  ]) {
    assert.is(bench.convert(bench.save([form]), { chunk: 1 }).error, '')
    assert.is(fs.readFileSync(`${bench.mount()}/a`, 'utf8').length, 3500)
    bench.unmount()
  }
})

test('base-256 numbers, negative and far times, directories marked by a slash', () => {
  const layer = tar(
    file('far', '', { mtime: 2 ** 33, uid: 2 ** 32 - 2 }),
    file('early', '', { mtime: -100 }),
    file('fraction', '', { pax: { mtime: '1234567890.75', uid: '2097152', gid: '4294967294' } }),
    file('no-one', '', { uid: 2 ** 32 - 1, gid: 2 ** 32 - 1 }),
    { name: 'old-dir/', patch: (header) => header.fill(0, 156, 157) },
    {
      name: 'pax_global_header',
      type: 'g',
      content: '52 comment=0123456789012345678901234567890123456789\n',
    },
    dir('./'),
  )
  assert.is(bench.convert(bench.save([layer])).error, '')
  const seen = list(bench.mount())
  bench.unmount()
  assert.match(seen.get('far') ?? '', /^100644 4294967294 0 4294967295 /)
  assert.match(seen.get('early') ?? '', /^100644 0 0 0 /)
  assert.match(seen.get('fraction') ?? '', /^100644 2097152 4294967294 1234567890 /)
  assert.match(seen.get('no-one') ?? '', /^100644 0 0 /)
  assert.match(seen.get('old-dir') ?? '', /^40644 /)
  assert.not(seen.has('pax_global_header'))
})

test('the image depends on the layers only, not on threads, pieces or arrival', () => {
  const layers = bench.save(
    [0, 1, 2].map((i) =>
      tar(...Array.from({ length: 60 }, (_, j) => file(`f${i * 30 + j}`, randomBytes(j * 7919)))),
    ),
  )
  assert.is(bench.convert(layers, { threads: 1 }, bench.path('first')).error, '')
  const first = fs.readFileSync(bench.path('first'))
  for (const threads of [1, 2, 8])
    for (const seed of [1, 2, 3]) {
      assert.is(bench.convert(layers, { threads, seed, chunk: 50_000 }).error, '')
      assert.equal(fs.readFileSync(bench.path('image')), first)
    }
})

test('files are read back after all layers, through links and from blocks', () => {
  const layers = bench.save([
    tar(
      dir('etc'),
      file('etc/passwd', 'old'),
      { name: 'link', type: '2', link: '/etc/../usr/real' },
      file('usr/real', randomBytes(200_000)),
    ),
    tar(file('etc/passwd', 'root:x:0:0')),
  ])
  assert.is(bench.convert(layers, { capture: 'etc/passwd' }).captured, 10)
  assert.is(bench.convert(layers, { capture: '/link' }).captured, 200_000)
  assert.is(bench.convert(layers, { capture: 'etc' }).captured, undefined)
  assert.is(bench.convert(layers, { capture: 'etc/none' }).captured, undefined)
})

test.run()
