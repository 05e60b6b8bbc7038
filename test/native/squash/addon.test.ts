// SPDX-License-Identifier: Apache-2.0
/** The converter as JavaScript sees it: promises, back-pressure, errors. */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import type { Native, NativeError, NativeSquash, SquashOptions } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { dir, file, hardlink, tar, whiteout } from './tar_writer.js'

const DIST = process.env.BERTH_TEST_DIST ?? join(import.meta.dirname, '../../../dist')
const ADDON = join(DIST, 'berth.node')
const native = (existsSync(ADDON) ? createRequire(import.meta.url)(ADDON) : {}) as Partial<Native>
const needs = native.squash === undefined ? 'needs npm run build' : undefined
const folder = mkdtempSync(join(tmpdir(), 'berth-squash-'))
const image = join(folder, 'image')

const test = suite('squash addon')
test.after(() => rmSync(folder, { recursive: true, force: true }))

function start(layers: number, more: Partial<SquashOptions> = {}): NativeSquash {
  const fd = openSync(image, 'w+')
  const limits = { bytesMax: 1e12, entriesMax: 1e6 }
  const options = {
    fd,
    layers,
    compressor: 'zstd' as const,
    level: 1,
    blockSize: 131072,
    threads: 2,
    capture: [],
  } satisfies Partial<SquashOptions>
  if (native.squash === undefined) throw new Error('no addon')
  return native.squash({ ...options, ...limits, ...more })
}

async function send(engine: NativeSquash, layer: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += 65536) await engine.write(layer, bytes.subarray(at, at + 65536))
  await engine.end(layer)
}

async function failure(promise: Promise<unknown>): Promise<NativeError> {
  return promise.then(
    () => assert.unreachable('it succeeded') as never,
    (error: NativeError) => error,
  )
}

test.needs(
  needs,
  'layers sent side by side become an image, its digests and the captured files',
  async () => {
    const lower = tar(dir('etc'), file('etc/passwd', 'old'), file('data', randomBytes(3_000_000)))
    const upper = tar(file('etc/passwd', 'new'), file('etc/group', 'g'))
    const engine = start(2, { capture: ['etc/passwd', 'etc/none'] })
    await Promise.all([send(engine, 0, gzipSync(lower)), send(engine, 1, upper)])
    assert.equal(await engine.missing(), [])
    const result = await engine.finish()
    const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
    assert.equal(result.diffIds, [sha256(lower), sha256(upper)])
    assert.is(result.size, readFileSync(image).length)
    assert.is(result.bytes, lower.length + upper.length)
    assert.is(result.captured['etc/passwd']?.toString(), 'new')
    assert.equal(Object.keys(result.captured), ['etc/passwd'])
    assert.is(engine.progress().uncompressed, result.bytes)
  },
)

test.needs(needs, 'a layer that waits for those above holds its sender back, and goes on later', async () => {
  const engine = start(2)
  const lower = tar(file('a', randomBytes(40_000_000)))
  let sent = 0
  const sending = (async () => {
    for (let at = 0; at < lower.length; at += 1 << 20) {
      await engine.write(0, lower.subarray(at, at + (1 << 20)))
      sent = at
    }
    await engine.end(0)
  })()
  await pause(300)
  assert.is(sent < 8_000_000, true)
  await send(engine, 1, tar())
  await sending
  assert.is((await engine.finish()).bytes, lower.length + 1024)
})

test.needs(needs, 'abort rejects all that waits with ECANCELED', async () => {
  const engine = start(2)
  const waiting = [failure(engine.write(0, Buffer.alloc(20_000_000))), failure(engine.missing())]
  const stopped = engine.abort()
  for (const error of await Promise.all(waiting)) assert.is(error.code, 'ECANCELED')
  // As often as anybody likes, also when all is over.
  for (const ended of [stopped, engine.abort(), engine.abort()]) assert.is(await ended, undefined)
  assert.is((await failure(engine.write(1, Buffer.alloc(1)))).code, 'ECANCELED')
})

test.needs(needs, 'damage is an error with its layer, for every later call too', async () => {
  const engine = start(3)
  await engine.end(2)
  await engine.write(1, Buffer.alloc(1024, 7))
  await engine.end(1).catch(() => undefined)
  const error = await failure(engine.missing())
  assert.is(error.code, 'EBADMSG')
  assert.is(error.path, 'layer 1')
  assert.match(error.message, /a header's checksum is wrong/)
  assert.is((await failure(engine.finish())).code, 'EBADMSG')
})

test.needs(needs, 'content that an upper layer hides from a hard link is asked for once more', async () => {
  const lower = tar(file('cache', 'content'), hardlink('kept', 'cache'))
  const layers = [lower, tar(whiteout('', 'cache'))]
  const engine = start(2, { capture: ['kept'] })
  await Promise.all(layers.map((bytes, layer) => send(engine, layer, bytes)))
  assert.equal(await engine.missing(), [0])
  await send(engine, 0, lower)
  assert.is((await engine.finish()).captured.kept?.toString(), 'content')
})

test.needs(needs, 'a layer that differs the second time is refused', async () => {
  const lower = tar(file('cache', 'content'), hardlink('kept', 'cache'))
  const engine = start(2)
  await Promise.all([lower, tar(whiteout('', 'cache'))].map((bytes, layer) => send(engine, layer, bytes)))
  await engine.missing()
  await send(engine, 0, tar(file('cache', 'CONTENT'), hardlink('kept', 'cache')))
  assert.match((await failure(engine.finish())).message, /it differs from what was sent first/)
})

test.needs(needs, 'owners can all be root, and are numbered as before', async () => {
  const layer = tar(file('mail', 'x', { uid: 8, gid: 12 }), file('own', 'y'))
  const owners: (string | undefined)[] = []
  for (const kept of [undefined, 'keep', 'root'] as const) {
    const engine = start(1, kept === undefined ? {} : { owners: kept })
    await send(engine, 0, layer)
    await engine.finish()
    owners.push(
      execFileSync('unsquashfs', ['-lln', image], { encoding: 'utf8' }).match(/\S+ (?=.*mail)/g)?.[1],
    )
  }
  assert.equal(owners, ['8/12 ', '8/12 ', '0/0 '])
})

test.needs(needs, 'wrong options and calls are refused', async () => {
  assert.throws(() => start(1, { blockSize: 1000 }), /the block size is a power of two/)
  assert.throws(() => start(1, { level: 99 }), /zstd levels are 1 to/)
  const engine = start(1)
  assert.is((await failure(engine.write(1, Buffer.alloc(1)))).code, 'EINVAL')
  assert.is((await failure(engine.finish())).code, 'EINVAL')
  await engine.abort()
})

test.run()
