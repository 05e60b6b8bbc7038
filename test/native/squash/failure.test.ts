// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { dir, entry, file, symlink, tar } from './tar_writer.js'
import { Bench, build, run } from './workbench.js'

const test = suite('squash failures')
const bench = new Bench(build(undefined, { flavour: 'sanitized' }))
test.after(() => bench.close())

const failure = (layer: Buffer, keys: Record<string, string | number> = {}): string => {
  const done = bench.convert(bench.save([layer]), keys)
  assert.is(done.code, 1, done.error)
  return done.error
}

/** Longer than PATH_MAX, though no name and no number of levels is too large. */
const DEEP = `${'n'.repeat(255)}/`.repeat(18)

const good = tar(dir('d'), file('d/a', randomBytes(3000)), file('big', randomBytes(300_000)), file('z', 'z'))

test('a layer cut anywhere fails and says which layer', () => {
  run(
    'sh',
    '-ec',
    `cd ${bench.directory}; cat > t.tar < ${bench.save([good])[0]}; zstd -qc t.tar > t.zst; zstd -qc --rm t.zst > /dev/null || true`,
  )
  const zstd = fs.readFileSync(bench.path('t.zst'))
  for (const [form, whole] of [
    ['tar', good],
    ['gzip', gzipSync(good)],
    ['zstd', zstd],
  ] as const)
    for (let i = 1; i < 25; i++) {
      const cut =
        form === 'tar'
          ? Math.floor((whole.length - 1536) * (i / 25)) + 1
          : Math.floor(whole.length * (i / 25))
      if (form === 'tar' && cut % 512 === 0) continue
      assert.match(
        failure(whole.subarray(0, cut)),
        /^EBADMSG (tar|inflate) layer 0: (corrupt tar: it ends|the layer is truncated)/,
        `${form} ${cut}`,
      )
    }
})

test('flipped bits in compressed layers are found by their checksums', () => {
  const gzip = gzipSync(good)
  for (let i = 20; i < gzip.length; i += Math.floor(gzip.length / 20)) {
    const bad = Buffer.from(gzip)
    bad[i] = (bad[i] ?? 0) ^ 16
    assert.match(failure(bad), /^EBADMSG (inflate|tar) layer 0: corrupt/)
  }
  assert.match(failure(Buffer.concat([gzip, Buffer.from('garbage')])), /data behind the last member/)
})

test('hostile headers are refused with their reason', () => {
  const long = 'x'.repeat(1 << 21)
  const part = 'x'.repeat(400_000)
  const cases: [Buffer, RegExp][] = [
    [entry({ name: 'a', patch: (h) => void h.write('99999999999', 124) }), /not octal/],
    [entry({ name: 'a', size: -1 }), /size is negative/],
    [entry({ name: 'a', type: 'Q' }), /unknown type/],
    [entry({ name: 'a', type: 'x', content: '999 path=b\n' }), /bad record/],
    [entry({ name: 'a', type: 'x', content: '11 path=b\n' }), /bad record/],
    [entry({ name: 'a', type: 'L', content: long }), /larger than 1 MiB/],
    [
      // Three of their extended headers alone, then an entry.
      Buffer.concat([
        ...['a', 'b', 'c'].map((key) => entry({ name: '', pax: { [key]: part } }).subarray(0, -512)),
        entry({ name: 'a' }),
      ]),
      /extended headers of an entry are larger than 1 MiB/,
    ],
    [entry({ name: 'a', pax: { path: 'b\0c' } }), /NUL/],
    [entry({ name: 'a', pax: { uid: '-5' } }), /uid is out of range/],
    [entry({ name: 'a', pax: { size: '99999999999999999999' } }), /not decimal/],
    [entry({ name: 'a', type: '2', link: '' }), /links to nothing/],
    [entry({ name: '.wh.' }), /whiteout names no file/],
    [entry({ name: 'd/.wh...' }), /whiteout names no file/],
    [entry({ name: '/', type: '0' }), /root is not a directory/],
    [
      entry({ name: 'a', pax: { 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '10' }, content: '5\n1\n' }),
      /sparse map|it ends/,
    ],
    [
      entry({
        name: 'a',
        pax: { 'GNU.sparse.map': '5,10,3,1', 'GNU.sparse.size': '20' },
        content: Buffer.alloc(11),
      }),
      /sparse map/,
    ],
    [
      Buffer.concat([
        entry({ name: 'a', type: '2', link: 'b' }),
        entry({ name: 'b', type: '2', link: 'a' }),
        entry({ name: 'a/x' }),
      ]),
      /too many symlinks/,
    ],
    [Buffer.concat([entry({ name: 'a' }), entry({ name: 'a/x' })]), /"a" is not a directory/],
    [entry({ name: 'a', pax: { path: 'd/'.repeat(5000) } }), /longer than Linux allows/],
    [entry({ name: 'a', pax: { path: DEEP } }), /longer than Linux allows/],
    [entry({ name: 'a', type: '1', pax: { linkpath: DEEP } }), /longer than Linux allows/],
    [randomBytes(4096), /checksum is wrong/],
  ]
  for (const [layer, message] of cases)
    assert.match(failure(Buffer.concat([layer, Buffer.alloc(1024)])), message)
  assert.match(failure(Buffer.from('425a6839314159265359', 'hex')), /^EOPNOTSUPP .*bzip2/)
  assert.match(failure(Buffer.from('fd377a585a000004', 'hex')), /^EOPNOTSUPP .*xz/)
})

test('limits on bytes and entries hold against a bomb', () => {
  const bomb = gzipSync(tar(file('bomb', Buffer.alloc(50_000_000))))
  assert.match(
    failure(bomb, { bytes: 10_000_000 }),
    /^EFBIG inflate layer 0: the layers have more than 10000000 bytes uncompressed/,
  )
  assert.match(
    failure(tar(...Array.from({ length: 200 }, (_, i) => file(`f${i}`, ''))), { entries: 100 }),
    /^EFBIG .*more than 100 entries/,
  )
  assert.match(
    failure(tar(...Array.from({ length: 3000 }, (_, i) => symlink(`l${i}`, 'x'.repeat(1000)))), {
      texts: 1 << 20,
    }),
    /^EFBIG .*names and links.* longer than 1048576 bytes/,
  )
  const deep = tar(file(`${'d/'.repeat(45)}x`, ''))
  assert.match(failure(deep, { entries: 20 }), /^EFBIG .*more than 20 entries/)
})

test('a full disk gives ENOSPC at every size, and no crash', () => {
  const layers = bench.save([
    tar(...Array.from({ length: 40 }, (_, i) => file(`f${i}`, randomBytes(100_000)))),
  ])
  const disk = bench.path('disk')
  fs.mkdirSync(disk)
  for (const size of [4, 64, 500, 2000, 3900]) {
    run('mount', '-t', 'tmpfs', '-o', `size=${size}k`, 'tmpfs', disk)
    const done = bench.convert(layers, {}, `${disk}/image`)
    run('umount', disk)
    assert.match(done.error, /^ENOSPC pwrite image/)
  }
})

test('a file size limit gives EFBIG instead of a signal', () => {
  const layers = bench.save([tar(file('big', randomBytes(3_000_000)))])
  const command = `ulimit -f 1000; exec ${bench.program} ${bench.path('image')} ${layers[0]}`
  const done = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  assert.is(done.signal, null)
  assert.match(done.stderr, /^EFBIG pwrite image/)
})

test('threads that cannot be started give EAGAIN', () => {
  // No other test may have processes of this user meanwhile: with one, the program would not even start.
  const uid = 65_499
  const plain = build()
  const layers = bench.save([good])
  const command = `ulimit -u 1; exec ${plain} ${bench.path('other')} ${layers[0]}`
  fs.chmodSync(bench.directory, 0o777)
  const copy = bench.path('program')
  fs.copyFileSync(plain, copy)
  const done = spawnSync(
    'setpriv',
    [`--reuid=${uid}`, '--clear-groups', 'bash', '-c', command.replace(plain, copy)],
    { encoding: 'utf8' },
  )
  assert.match(done.stderr, /^EAGAIN pthread_create/)
})

test.run()
