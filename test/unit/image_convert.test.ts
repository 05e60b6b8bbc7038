// SPDX-License-Identifier: Apache-2.0
import * as assert from 'uvu/assert'
import { type ConvertProgress, convert } from '../../src/image/convert.js'
import type { Descriptor } from '../../src/image/manifest.js'
import type { ImageReader, OpenedImage } from '../../src/image/reader.js'
import type { NativeError, NativeSquash, SquashResult } from '../../src/native.js'
import { failure } from '../failure.js'
import { sha256 } from '../registry.js'
import { suite } from '../suite.js'

const test = suite('layers into the engine')
const CONTENT = ['a', 'b', 'c', 'd', 'e'].map((letter) => Buffer.from(letter.repeat(1000)))

/** Stands in for the engine: takes the top layer at once, the others only when those above have ended. */
class FakeEngine implements NativeSquash {
  readonly got = CONTENT.map(() => Buffer.alloc(0))
  readonly ended: number[] = []
  aborted = false
  private top = CONTENT.length - 1
  private waiting: { layer: number; go: () => void; stop: (error: Error) => void }[] = []

  constructor(
    private readonly trouble: (layer: number, call: string) => NativeError | undefined = () => undefined,
  ) {}

  async write(layer: number, data: Uint8Array): Promise<void> {
    const error = this.trouble(layer, 'write')
    if (error !== undefined) throw error
    await this.turn(layer)
    this.got[layer] = Buffer.concat([this.got[layer] ?? Buffer.alloc(0), data])
  }

  async end(layer: number): Promise<void> {
    const error = this.trouble(layer, 'end')
    if (error !== undefined) throw error
    await this.turn(layer)
    this.ended.push(layer)
    this.top = layer - 1
    const [ready, later] = [
      this.waiting.filter((one) => one.layer >= this.top),
      this.waiting.filter((one) => one.layer < this.top),
    ]
    this.waiting = later
    for (const { go } of ready) go()
  }

  /** Layers to be sent again. */
  wanted: number[] = []

  async missing(): Promise<number[]> {
    return this.wanted
  }

  async finish(): Promise<SquashResult> {
    return { size: 1, entries: 1, bytes: 1, copied: 0, diffIds: this.got.map(sha256), captured: {} }
  }

  async abort(): Promise<void> {
    this.aborted = true
    for (const { stop } of this.waiting) stop(Object.assign(new Error('canceled'), { code: 'ECANCELED' }))
  }

  progress() {
    return { compressed: 0, uncompressed: 0 }
  }

  private turn(layer: number): Promise<void> {
    if (layer >= this.top) return Promise.resolve()
    return new Promise((go, stop) => this.waiting.push({ layer, go, stop }))
  }
}

function image(): OpenedImage {
  return {
    digest: 'sha256:x',
    layers: CONTENT.map((bytes) => ({ digest: sha256(bytes), size: bytes.length, mediaType: '' })),
    parsed: {
      config: { env: [], entrypoint: [], cmd: [], workdir: '', user: '', labels: {}, architecture: '' },
      os: 'linux',
      variant: '',
      diffIds: CONTENT.map(sha256),
    },
  }
}

class FakeReader implements ImageReader {
  readonly open_to_all = true
  readonly started: string[] = []
  constructor(private readonly change: (bytes: Buffer, index: number) => Buffer | Error = (bytes) => bytes) {}

  async resolve(): Promise<string> {
    return ''
  }
  async open(): Promise<OpenedImage> {
    return image()
  }
  async *layer({ digest }: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const index = CONTENT.findIndex((bytes) => sha256(bytes) === digest)
    this.started.push('abcde'[index] ?? '?')
    const bytes = this.change(CONTENT[index] ?? Buffer.alloc(0), index)
    if (bytes instanceof Error) throw bytes
    for (let at = 0; at < bytes.length; at += 100) {
      await new Promise((resolve) => setImmediate(resolve))
      signal?.throwIfAborted()
      yield bytes.subarray(at, at + 100)
    }
  }
}

test('layers start at the top, three at once, and all arrive; the progress is exact', async () => {
  const [engine, reader] = [new FakeEngine(), new FakeReader()]
  const seen: ConvertProgress[] = []
  await convert(image(), reader, engine, (progress) => seen.push({ ...progress }))
  assert.equal(reader.started.slice(0, 3), ['e', 'd', 'c'])
  assert.equal(engine.ended, [4, 3, 2, 1, 0])
  assert.equal(engine.got, CONTENT)
  assert.equal(seen.at(-1), { done: 5000, total: 5000, layer: 5, layers: 5, reused: 0 })
  assert.not(engine.aborted)
})

test('a layer that the engine wants again is sent again and not counted twice', async () => {
  const [engine, reader] = [new FakeEngine(), new FakeReader()]
  engine.wanted = [1]
  const seen: ConvertProgress[] = []
  const failed = await failure(convert(image(), reader, engine, (progress) => seen.push({ ...progress })))
  assert.is(failed.code, 'BERTH_EDIGEST', 'the stand-in hashes the layer twice')
  assert.equal(reader.started.slice(-1), ['b'])
  assert.equal(seen.at(-1), { done: 5000, total: 5000, layer: 5, layers: 5, reused: 0 })
})

test('a layer with other bytes aborts the engine; the cause is told, not the aborting', async () => {
  const engine = new FakeEngine()
  const reader = new FakeReader((bytes, index) => (index === 3 ? Buffer.from(bytes).fill('x') : bytes))
  const error = await failure(convert(image(), reader, engine, () => {}))
  assert.is(error.code, 'BERTH_EDIGEST')
  assert.is(error.fields.digest, sha256(CONTENT[3] ?? Buffer.alloc(0)))
  assert.ok(engine.aborted)
})

test('a failure is told when the engine writes no more: another one may be given the file', async () => {
  class Slow extends FakeEngine {
    isWriting = true
    override async abort(): Promise<void> {
      await Promise.all([super.abort(), new Promise((resolve) => setImmediate(resolve))])
      this.isWriting = false
    }
  }
  const damage: NativeError = Object.assign(new Error(), { code: 'EUCLEAN', errno: 117, syscall: 'squash' })
  const engine = new Slow((layer) => (layer === 3 ? damage : undefined))
  assert.is((await failure(convert(image(), new FakeReader(), engine, () => {}))).code, 'BERTH_ELAYER')
  assert.not(engine.isWriting)
})

test('a short and a long layer are told with their sizes', async () => {
  const cut = new FakeReader((bytes, index) => (index === 0 ? bytes.subarray(0, 500) : bytes))
  assert.match(
    (await failure(convert(image(), cut, new FakeEngine(), () => {}))).message,
    'ends after 500 of 1000',
  )
  const long = new FakeReader((bytes, index) => (index === 0 ? Buffer.concat([bytes, bytes]) : bytes))
  assert.match(
    (await failure(convert(image(), long, new FakeEngine(), () => {}))).message,
    'longer than the 1000',
  )
})

test("the engine's refusals become errors a user can read", async () => {
  const trouble = (code: string) =>
    new FakeEngine((layer, call) =>
      layer === 1 && call === 'write'
        ? Object.assign(new Error(code), { code, errno: 1, syscall: 'inflate', path: '../x' })
        : undefined,
    )
  const code = async (name: string) =>
    (await failure(convert(image(), new FakeReader(), trouble(name), () => {}))).code
  assert.is(await code('ENOSPC'), 'BERTH_ESPACE')
  assert.is(await code('EFBIG'), 'BERTH_ETOOBIG')
  assert.is(await code('EBADMSG'), 'BERTH_ELAYER')
})

test('content that is not what the config says is found out at the end', async () => {
  const opened = image()
  opened.parsed.diffIds[2] = `sha256:${'0'.repeat(64)}`
  const error = await failure(convert(opened, new FakeReader(), new FakeEngine(), () => {}))
  assert.is(error.code, 'BERTH_EDIGEST')
  assert.match(error.message, 'the content of layer 3')
})

test.run()
