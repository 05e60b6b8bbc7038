// SPDX-License-Identifier: Apache-2.0
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { constants, createGzip, gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { END, entry, type TarEntry } from './tar_writer.js'
import { Bench, build, run } from './workbench.js'

/** Issue 5: whatever the image. */
const MEGABYTES_MAX = 64

const test = suite('squash memory')
const bench = new Bench(build())
test.after(() => bench.close())

function peakMegabytes(layers: readonly string[], ...options: string[]): number {
  const done = spawnSync(
    '/usr/bin/time',
    ['-f', '%M', bench.program, ...options, bench.path('image'), ...layers],
    {
      encoding: 'utf8',
    },
  )
  assert.is(done.status, 0, done.stderr)
  return Number(done.stderr.trim()) / 1024
}

/** The parts of a tar of 200 MB, half of which does not compress. */
function* largeTar(layer: number): Generator<Buffer> {
  for (let j = 0; j < 20; j++) {
    const content = Buffer.concat([randomBytes(5_000_000), Buffer.alloc(5_000_000, j)])
    yield entry({ name: `f${layer}-${j}`, content })
  }
  yield END
}

test(`three layers of 200 MB sent side by side take less than ${MEGABYTES_MAX} MB`, async () => {
  const layers = [0, 1, 2].map((i) => bench.path(`large${i}.gz`))
  // Who reads it does as much as for any other; made so it takes a quarter of the time that gzip -1 needs.
  const cheaply = { level: 1, strategy: constants.Z_RLE }
  for (const [i, path] of layers.entries())
    await pipeline(largeTar(i), createGzip(cheaply), fs.createWriteStream(path))
  for (const threads of ['1', '8'])
    assert.is(peakMegabytes(layers, '-threads', threads) < MEGABYTES_MAX, true)
})

/** Tar of `thousands` directories with a thousand entries each; their number is put at `places` of each header. */
function writeMany(
  path: string,
  thousands: number,
  one: (j: number) => TarEntry = (j) => ({ name: `d0000/file-${j}` }),
  places = [1],
): void {
  const block = Buffer.concat(Array.from({ length: 1000 }, (_, j) => entry(one(j))))
  const sums = Array.from({ length: 1000 }, (_, j) =>
    Number.parseInt(block.toString('latin1', j * 512 + 148, j * 512 + 154), 8),
  )
  const fd = fs.openSync(path, 'w')
  for (let i = 0; i < thousands; i++) {
    const digits = String(i).padStart(4, '0')
    const more = places.length * [...digits].reduce((sum, digit) => sum + Number(digit), 0)
    for (const [j, sum] of sums.entries()) {
      for (const place of places) block.write(digits, j * 512 + place, 'latin1')
      block.write((sum + more).toString(8).padStart(6, '0'), j * 512 + 148, 'latin1')
    }
    fs.writeSync(fd, block)
  }
  fs.writeSync(fd, END)
  fs.closeSync(fd)
}

/** The most memory of its own, without mappings of files, that the converter was seen to have. */
async function peakOwnMegabytes(...layers: string[]): Promise<number> {
  const child = spawn(bench.program, [bench.path('image'), ...layers], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  let code: number | null | undefined
  child.on('close', (status) => {
    code = status
  })
  let peak = 0
  while (code === undefined) {
    await pause(5)
    try {
      const status = fs.readFileSync(`/proc/${child.pid}/status`, 'utf8')
      peak = Math.max(peak, Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0))
    } catch {}
  }
  assert.is(code, 0)
  return peak / 1024
}

test(`a million files take less than ${MEGABYTES_MAX} MB of memory that the kernel cannot take back`, async () => {
  const path = bench.path('million')
  writeMany(path, 1000)
  assert.is((await peakOwnMegabytes(path)) < MEGABYTES_MAX, true)
  const done = spawnSync('unsquashfs', ['-s', bench.path('image')], { encoding: 'utf8' })
  assert.match(done.stdout, /Number of inodes 1001001/)
  const { size, blocks } = fs.statSync(bench.path('image'))
  // What was mapped behind the image is gone.
  assert.is(size < 20_000_000 && blocks * 512 <= size + 65536, true)
})

test(`a million files that an upper layer hides take less than ${MEGABYTES_MAX} MB`, async () => {
  const whiteouts = Array.from({ length: 1000 }, (_, i) =>
    entry({ name: `.wh.d${String(i).padStart(4, '0')}` }),
  )
  const [top = ''] = bench.save([Buffer.concat([...whiteouts, END])])
  assert.is((await peakOwnMegabytes(bench.path('million'), top)) < MEGABYTES_MAX, true)
})

test(`a hundred files with their own megabyte of attributes take less than ${MEGABYTES_MAX} MB`, async () => {
  const names = Array.from({ length: 15 }, (_, j) => `SCHILY.xattr.user.name-${j}`)
  const files = Array.from({ length: 100 }, (_, i) => {
    const pax = Object.fromEntries(names.map((name) => [name, Buffer.alloc(65_536, `value ${i} `)]))
    return entry({ name: `file-${i}`, pax })
  })
  const [path = ''] = bench.save([Buffer.concat([...files, END])])
  assert.is((await peakOwnMegabytes(path)) < MEGABYTES_MAX, true)
  const attributes = spawnSync('getfattr', ['-n', 'user.name-7', '--only-values', `${bench.mount()}/file-42`])
  assert.is(attributes.stdout.equals(Buffer.alloc(65_536, 'value 42 ')), true)
  bench.unmount()
})

test('a full directory that a file replaces again and again costs no more than an empty one', () => {
  const count = 30_000
  const files = Array.from({ length: count }, (_, i) => entry({ name: `d/file-${i}` }))
  const turn = Buffer.concat([entry({ name: 'd' }), entry({ name: 'd', type: '5' })])
  const [path = ''] = bench.save([
    Buffer.concat([entry({ name: 'd', type: '5' }), ...files, ...Array(count).fill(turn), END]),
  ])
  // Half a second here; with a look at all that was in it each time it was eight.
  const command = `ulimit -t 4; exec ${bench.program} ${bench.path('replaced')} ${path}`
  const done = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  assert.is(done.status, 0, `${done.signal} ${done.stderr}`)
})

/** Members of gzip stand for parts of a layer: those of the same bytes need to be made once. */
test('a large file that is there twice costs the same for each of its blocks', () => {
  const content = gzipSync(Buffer.alloc(1 << 20, 'x'))
  const head = (name: string): Buffer => gzipSync(entry({ name, size: 500 << 20 }))
  const [path = ''] = bench.save([
    Buffer.concat([
      ...['a', 'b'].flatMap((name) => [head(name), ...Array(500).fill(content)]),
      gzipSync(END),
    ]),
  ])
  // Two seconds here; with a look at all blocks before for each it was twelve.
  const keys = '-block 4096 -compressor none -threads 1'
  const command = `ulimit -t 7; exec ${bench.program} ${keys} ${bench.path('twice')} ${path}`
  const done = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  assert.is(done.status, 0, `${done.signal} ${done.stderr}`)
})

test('hard links into a lower layer cost the same each, however many wait', () => {
  const [files, links] = [bench.path('files'), bench.path('links')]
  writeMany(files, 60)
  const link = (j: number): TarEntry => ({ name: `e0000/link-${j}`, type: '1', link: `d0000/file-${j}` })
  writeMany(links, 60, link, [1, 158])
  // A second here; with a look at all that wait for each entry it was more than thirty.
  const command = `ulimit -t 20; exec ${bench.program} ${bench.path('linked')} ${files} ${links}`
  const done = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  assert.is(done.status, 0, `${done.signal} ${done.stderr}`)
  assert.match(done.stdout, /"entries":120120,/)
})

/** A memory cgroup with a hard limit, of either version; undefined where none can be had. */
function limitedCgroup(bytes: number): string | undefined {
  for (const [root, limit] of [
    ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
    ['/sys/fs/cgroup', 'memory.max'],
  ] as const) {
    if (!fs.existsSync(`${root}/cgroup.procs`)) continue
    try {
      const group = fs.mkdtempSync(`${root}/berth-test-`)
      if (fs.existsSync(`${group}/${limit}`)) {
        fs.writeFileSync(`${group}/${limit}`, String(bytes))
        return group
      }
      fs.rmdirSync(group)
    } catch {
      // Read-only, as in most containers.
    }
  }
  return undefined
}

const group = process.getuid?.() === 0 ? limitedCgroup(MEGABYTES_MAX << 20) : undefined
test.after(() => {
  if (group !== undefined) fs.rmdirSync(group)
})

const without = group === undefined ? 'a memory cgroup' : undefined
test.needs(without, `half a million files in a hard limit of ${MEGABYTES_MAX} MB`, () => {
  const path = bench.path('half')
  writeMany(path, 500)
  // All memory counts here, the pages of what is read and written too: the kernel has to take them back.
  const inside = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'
  const command = [bench.program, bench.path('image'), path]
  const done = spawnSync('sh', ['-ec', inside, 'sh', group ?? '', ...command], { encoding: 'utf8' })
  assert.is(done.status, 0, `${done.signal} ${done.stderr}`)
})

test('a disk that is full while the tables grow gives ENOSPC, not SIGBUS', () => {
  const disk = bench.path('disk')
  fs.mkdirSync(disk)
  run('mount', '-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', disk)
  const done = bench.convert([bench.path('million')], {}, `${disk}/image`)
  run('umount', disk)
  assert.match(done.error, /^ENOSPC (fallocate|pwrite) image/)
})

test('a file size limit below the tables is EFBIG', () => {
  const command = `ulimit -f 1000; exec ${bench.program} ${bench.path('small')} ${bench.path('million')}`
  const done = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  assert.is(done.signal, null)
  assert.match(done.stderr, /^EFBIG pwrite image/)
})

test.run()
