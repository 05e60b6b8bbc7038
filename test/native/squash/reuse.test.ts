// SPDX-License-Identifier: Apache-2.0
/** An image of layers that another image has is, entry by entry, the image that is made of the layers themselves. */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { Native, NativeError, SquashOptions, SquashResult } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { LoopDisk, missingFor } from '../loop_disk.js'
import { dir, file, hardlink, opaque, symlink, type TarEntry, tar, whiteout } from './tar_writer.js'
import { Bench, differences, list, run } from './workbench.js'

const DIST = process.env.BERTH_TEST_DIST ?? join(import.meta.dirname, '../../../dist')
const ADDON = join(DIST, 'berth.node')
const addon = (existsSync(ADDON) ? createRequire(import.meta.url)(ADDON) : {}) as Partial<Native>
const needs = addon.squash === undefined ? 'needs npm run build' : undefined
const native = addon as Native
const test = suite('squash reuse')
const bench = new Bench('')
test.after(() => bench.close())

interface Made {
  path: string
  layers: Buffer[]
  result: SquashResult
  /** Layers that were sent, in the order in which they were asked for. */
  sent: number[]
}

let count = 0

/** Every layer that an image of `from` has is taken from there. */
async function make(
  layers: Buffer[],
  from: Made[] = [],
  more: Partial<SquashOptions> = {},
  path = bench.path(`reuse-${count++}`),
): Promise<Made> {
  const fd = openSync(path, 'w+')
  const images = from.map((base) => openSync(base.path, 'r'))
  const reused = layers.flatMap((layer, index) => {
    const image = from.findIndex((base) => base.layers.includes(layer))
    const at = from[image]?.layers.lastIndexOf(layer) ?? -1
    return image < 0 ? [] : [{ layer: index, image, at }]
  })
  const sent: number[] = []
  try {
    const engine = native.squash({
      ...{ fd, layers: layers.length, compressor: 'zstd', level: 1, blockSize: 131_072, threads: 2 },
      ...{ bytesMax: 1e12, entriesMax: 1e6, capture: ['etc/passwd'] },
      ...(from.length === 0 ? {} : { reuse: { images, layers: reused } }),
      ...more,
    })
    const send = async (index: number) => {
      sent.push(index)
      await engine.write(index, layers[index] ?? Buffer.alloc(0))
      await engine.end(index)
    }
    for (let index = layers.length - 1; index >= 0; index--)
      if (!reused.some(({ layer }) => layer === index)) await send(index)
    for (const index of await engine.missing()) await send(index)
    return { path, layers, result: await engine.finish(), sent }
  } finally {
    for (const one of [fd, ...images]) closeSync(one)
  }
}

function listing(path: string): Map<string, string> {
  const found = list(bench.mount(path))
  bench.unmount()
  return found
}

/** Makes the image in both ways and compares; answers the reused one. */
async function same(layers: Buffer[], from: Made[], sent: number[]): Promise<Made> {
  const full = await make(layers)
  const reused = await make(layers, from)
  assert.equal(differences(listing(reused.path), listing(full.path), true), [])
  assert.equal(reused.sent, sent)
  assert.equal(reused.result.captured, full.result.captured)
  assert.is(reused.result.entries, full.result.entries)
  assert.is(reused.result.bytes, full.result.bytes)
  const fd = openSync(reused.path, 'r')
  await native.verifySquashfs(fd, { threads: 2 }).finally(() => closeSync(fd))
  run('unsquashfs', '-q', '-n', '-f', '-d', bench.path('unpacked'), reused.path)
  run('rm', '-rf', bench.path('unpacked'))
  return reused
}

const noise = (size: number) => randomBytes(size)
const BASE: TarEntry[] = [
  dir('etc', { mode: 0o700, uid: 3, mtime: 1234 }),
  file('etc/passwd', 'root:x:0:0:::\n'),
  file('etc/suid', 'x', { mode: 0o6755, uid: 3_000_000, gid: 7 }),
  dir('usr'),
  dir('usr/lib'),
  file('usr/lib/large', noise(700_000), { mtime: 4_000_000_000 }),
  file('usr/lib/sparse', Buffer.concat([noise(140_000), Buffer.alloc(900_000), noise(10)])),
  file('usr/lib/zeros', Buffer.alloc(1_000_000)),
  hardlink('usr/lib/again', 'usr/lib/large'),
  ...Array.from({ length: 60 }, (_, i) => file(`usr/lib/small${i}`, noise(9000 + i))),
  file('empty', ''),
  symlink('lib', 'usr/lib'),
  { name: 'null', type: '3', device: [1, 3], mode: 0o666 },
  { name: 'pipe', type: '6', mode: 0o600 },
  file('attributes', 'a', { pax: { 'SCHILY.xattr.user.one': 'value', 'SCHILY.xattr.user.two': 'x' } }),
]
const lower = tar(...BASE)
const middle = tar(
  file('usr/lib/small3', 'changed in the middle'),
  file('usr/lib/medium', noise(300_000)),
  whiteout('usr/lib/', 'small4'),
  file('hidden later', noise(5000)),
)
const top = tar(whiteout('', 'hidden later'), file('app', noise(200_000)))

test.needs(needs, 'of a base with a layer on top only that layer is sent', async () => {
  const base = await make([lower, middle])
  const upper = tar(file('etc/passwd', 'new:x:0:0:::\n'), file('opt', noise(400_000)))
  const reused = await same([lower, middle, upper], [base], [2])
  assert.ok(reused.result.copied > 700_000)
  assert.is(reused.result.diffIds[2], createHash('sha256').update(upper).digest('hex'))
  assert.match(reused.result.diffIds[0] ?? '', /^0+$/)
  const more = await same([lower, middle, upper, tar(file('last', 'x'))], [reused], [3])
  assert.ok(more.result.copied > 1_000_000, 'an image that was made of stored layers is a base too')
  const none = await same([lower, middle], [base], [])
  assert.ok(Math.abs(none.result.size - base.result.size) <= 8192)
})

test.needs(
  needs ?? missingFor('xfs'),
  'where files can share extents a stored layer takes no room',
  async () => {
    const disk = new LoopDisk(bench.directory, 'xfs')
    try {
      const files = Array.from({ length: 12 }, (_, i) => file(`f${i}`, noise((2 << 20) + i)))
      const base = await make([tar(...files)], [], {}, join(disk.path, 'base'))
      const before = disk.free()
      const { result } = await make([...base.layers, top], [base], {}, join(disk.path, 'reused'))
      const taken = before - disk.free()
      assert.ok(result.copied > 24 << 20)
      assert.ok(taken < 2 << 20, `${taken} bytes`)
    } finally {
      disk.close()
    }
  },
)

test.needs(needs, 'what upper layers do to the base is done', async () => {
  const base = await make([lower])
  const upper = tar(
    whiteout('usr/lib/', 'small7'),
    whiteout('usr/lib/', 'large'),
    file('usr/lib/small8', 'other'),
    hardlink('usr/lib/linked', 'usr/lib/small9'),
    hardlink('usr/lib/sparser', 'usr/lib/sparse'),
    file('lib/under the link', 'x'),
    dir('etc', { mode: 0o755, mtime: 99 }),
    opaque('etc/'),
    file('null', 'a file now'),
  )
  await same([lower, upper], [base], [1])
  await same([lower, tar(whiteout('', 'usr'), dir('usr'), file('usr/new', 'n'))], [base], [1])
  await same([lower, tar(file('usr', 'a file'))], [base], [1])
})

test.needs(
  needs,
  'nothing of files that are hidden gets into the image, nor of layers that it has not',
  async () => {
    const secret = 'a SECRET that stands in a fragment '.repeat(20)
    const private_ = tar(file('secret', secret), file('neighbour', 'n'.repeat(100)))
    const base = await make([lower, private_], [], { compressor: 'none' })
    const strings = (made: Made) => readFileSync(made.path, 'latin1').includes('SECRET')
    assert.ok(strings(base))
    assert.not(strings(await make([lower, tar(file('x'))], [base], { compressor: 'none' })))
    const hiding = tar(whiteout('', 'secret'))
    assert.not(strings(await make([lower, private_, hiding], [base], { compressor: 'none' })))
  },
)

test.needs(
  needs,
  'a layer in the middle or of several images is taken; what was hidden there is sent',
  async () => {
    const base = await make([lower, middle, top])
    // `hidden later` is visible without the top layer, so its layer is needed after all; the lowest is not.
    await same([lower, middle, tar(file('mine', 'm'))], [base], [2, 1])
    const other = await make([tar(file('other', noise(250_000))), top])
    await same([...other.layers, middle, tar(whiteout('', 'hidden later'))], [base, other], [3])
    // What `middle` hides of the lowest one is not in the base.
    await same([lower, tar(file('mine', 'm'))], [base], [1, 0])
    await same([lower, tar(file('usr/lib/small3', 's'), whiteout('usr/lib/', 'small4'))], [base], [1])
  },
)

test.needs(needs, 'links into a stored layer, names twice and a layer that is there twice', async () => {
  const twice = tar(file('twice', 'first'), file('kept', 'k'), file('twice', 'second'))
  const links = tar(file('target', noise(3000)), hardlink('a', 'target'), hardlink('b', 'a'))
  const hides = tar(whiteout('', 'target'), hardlink('c', 'a'))
  const base = await make([twice, links, hides])
  // The content of a hidden target is in the base, but not listed as that of an entry.
  await same([twice, links, hides, tar(hardlink('d', 'b'))], [base], [3, 1])
  await same([twice, links, twice], [base], [1])
  await same([twice, tar(whiteout('', 'twice')), twice], [await make([twice])], [1])
})

test.needs(needs, 'the bytes depend on layers and bases only', async () => {
  const base = await make([lower, middle])
  const layers = [lower, middle, top]
  const one = await make(layers, [base], { threads: 1 })
  const two = await make(layers, [base], { threads: 8 })
  assert.ok(readFileSync(one.path).equals(readFileSync(two.path)))
  assert.ok(readFileSync(base.path).equals(readFileSync((await make([lower, middle])).path)))
})

test.needs(needs, 'an image of another kind or a damaged one is refused', async () => {
  const refusal = (promise: Promise<unknown>) =>
    promise.then(
      () => 'no error',
      ({ code }: NativeError) => code,
    )
  const base = await make([lower])
  const layers = [lower, top]
  assert.is(await refusal(make(layers, [base], { compressor: 'lz4' })), 'EOPNOTSUPP')
  assert.is(await refusal(make(layers, [base], { blockSize: 65_536 })), 'EOPNOTSUPP')
  const bytes = readFileSync(base.path)
  for (const [from, to] of [
    [bytes.length - 64, bytes.length],
    [bytes.length - 9000, bytes.length - 64],
  ] as const) {
    const damaged = Buffer.from(bytes)
    damaged.fill(0xa5, from, to)
    writeFileSync(base.path, damaged)
    assert.match(await refusal(make(layers, [base])), /EUCLEAN|EFBIG/)
  }
  writeFileSync(base.path, bytes)
  truncateSync(base.path, bytes.length - 4096)
  assert.is(await refusal(make(layers, [base])), 'EUCLEAN')
})

test.needs(needs, 'a file that would reach beyond its fragment is not taken over', async () => {
  const kind = { compressor: 'none' as const, blockSize: 4096 }
  const layer = tar(file('only', 'what it holds'))
  const base = await make([layer], [], kind)
  const bytes = readFileSync(base.path)
  // Its inode: fragment 0, offset 0, size (squashfs 4.0, basic file).
  const inode = Buffer.alloc(12)
  inode.writeUInt32LE('what it holds'.length, 8)
  const at = bytes.indexOf(inode, Number(bytes.readBigUInt64LE(64)))
  assert.ok(at > 0)
  bytes.writeUInt32LE(4000, at + 4)
  writeFileSync(base.path, bytes)
  const refused = await make([layer], [base], kind).then(
    () => 'no error',
    ({ code }: NativeError) => code,
  )
  assert.is(refused, 'EUCLEAN')
})

test.needs(needs, '100 damaged images: refused, or an image that is sound', async () => {
  const base = await make([lower, middle])
  const bytes = readFileSync(base.path)
  const start = Number(bytes.readBigUInt64LE(bytes.length - 48))
  let random = 12345
  const next = (below: number) => {
    random = (random * 1_103_515_245 + 12_345) % 2 ** 31
    return random % below
  }
  let refused = 0
  for (let round = 0; round < 100; round++) {
    const damaged = Buffer.from(bytes)
    // The index mostly, else the tables in front of it.
    const from = round % 3 === 0 ? start - 8192 : start
    for (let i = 0; i <= next(3); i++) damaged[from + next(damaged.length - from)] = next(256)
    writeFileSync(base.path, damaged)
    const made = await make([lower, middle, top], [base]).catch((error: NativeError) => error)
    if (made instanceof Error) {
      refused++
      continue
    }
    const fd = openSync(made.path, 'r')
    await native.verifySquashfs(fd, { threads: 1 }).finally(() => closeSync(fd))
    rmSync(made.path)
  }
  assert.ok(refused > 15, `${refused} refused`)
})

test.run()
