// SPDX-License-Identifier: Apache-2.0
/**
 * The shared store as a node uses it: one node imports an image, the others wait and then mount or copy what it
 * published. Whatever fails there costs a line in the log; the step goes on with the node's own store.
 */
import { open } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { LoopImage, Native } from '../../native.js'
import { BerthError, messageOf } from '../../report/errors.js'
import { type Learned, learn, parseRecord, type StoreRecord } from '../record.js'
import type { Shelf } from '../shelf.js'
import { takeCopy } from './copy.js'
import { mountsFromThere, type ShareUse } from './policy.js'
import { type Answered, type AskOptions, Sharer } from './sharer.js'
import type { OrderName, Orders, Share, SharedRow, SharerSettings, ShareState } from './wire.js'

export interface SharedOptions extends SharerSettings {
  use: ShareUse
  /** Bytes up to which an image is copied whatever the file system. */
  copySize: number
  /** Group of the account that may write there. */
  gid: number
}

interface SharedProgress extends Share {
  phase: 'waiting' | 'importing'
  /** The node that imports it. */
  node?: string
  /** The directory, while it does not answer. */
  silent?: string
}

export interface Wanted {
  key: string
  digest: string
  /** HOST/REPOSITORY that has just given the asking user this very digest. */
  place: string
  /** What came to light with it, for the record that others read. */
  learned: Learned
  signal: AbortSignal
  report(progress: SharedProgress): void
}

const openFile = promisify(open)

/** As often as an eye can follow, and rarely enough for a metadata server with a thousand waiting nodes. */
const POLL_MS_MIN = 250
const POLL_MS_MAX = 2000
/** A directory that failed is tried again after this; until then no step waits for it. */
const REST_MS = 60_000
/** A process without orders only holds memory. */
const IDLE_MS_MAX = 30_000
const BEAT_MS_MIN = 1000
/** A user who waits for longer is told for what. */
const SILENCE_MS = 2000
/** A use is noted this often while a step lasts, so that `berth gc --shared` sees it. */
const TOUCH_MS = 6 * 3_600_000

export class Shared {
  private sharer: Sharer | undefined
  private state: ShareState | undefined
  private restUntil = 0
  private isClosed = false
  private orders = 0
  /** Leases that are this node's. */
  private held = 0
  private idle: NodeJS.Timeout | undefined
  private readonly touching: NodeJS.Timeout

  constructor(
    private readonly native: Native,
    private readonly shelf: Shelf,
    private readonly distDir: string,
    private readonly options: SharedOptions,
    private readonly isLeased: (key: string) => boolean,
    private readonly log: (line: string) => void,
  ) {
    this.touching = setInterval(() => void this.touchLeased(), TOUCH_MS)
    this.touching.unref()
  }

  get directory(): string {
    return this.options.directory
  }

  /** A first look, so that the log says what is wrong before a step needs it. */
  async check(): Promise<void> {
    await this.usable()
  }

  /**
   * The image from there, or what `make` imports; then others get it from there.
   * @throws what `make` throws, the signal's reason
   */
  async once(
    wanted: Wanted,
    make: (tell: (share: Share) => void) => Promise<StoreRecord>,
  ): Promise<StoreRecord> {
    const { signal } = wanted
    const alone = () => make(() => undefined)
    for (let polls = 0; await this.aloud(wanted, () => this.usable()); polls++) {
      signal.throwIfAborted()
      const order = { key: wanted.key, place: wanted.place }
      const turn = await this.aloud(wanted, () => this.try('acquire', order))
      if (turn === undefined || turn.state === 'readonly') return alone()
      if (turn.state === 'mine') return this.import(wanted, make)
      if (turn.state === 'published') {
        const { record: json } = turn
        const record = await this.aloud(wanted, (heard) => this.take({ ...wanted, report: heard }, json))
        signal.throwIfAborted()
        if (record !== undefined) return record
      } else {
        const { state: _, ...share } = turn
        wanted.report({ phase: 'waiting', ...share })
        await sleep(Math.min(POLL_MS_MIN * (1 + polls / 8), POLL_MS_MAX), undefined, { signal })
      }
    }
    return alone()
  }

  /** On a loop device, through a descriptor that the sharer opened. @throws BerthError BERTH_ESHAREDIMAGE */
  async attach({ key, references, digest }: StoreRecord): Promise<LoopImage> {
    const answered = await this.ask('find', { key }).catch((error: Error) => error)
    const fd = answered instanceof Error ? undefined : answered.fd
    if (fd === undefined) {
      this.shelf.remove(key)
      const image = references[0] ?? digest
      const problem = answered instanceof Error ? answered.message : 'it was removed there'
      throw new BerthError('BERTH_ESHAREDIMAGE', { image, directory: this.directory, problem })
    }
    try {
      void this.try('touch', { keys: [key] })
      return await this.native.attachImageFd(fd, 0)
    } finally {
      this.native.closeFd(fd)
    }
  }

  /** Whether an image that the node mounts from there can still be had; if not, nothing of it stays here. */
  async keeps(record: StoreRecord): Promise<boolean> {
    if (record.shared !== true || this.isLeased(record.key)) return true
    const found = (await this.usable())
      ? await this.ask('find', { key: record.key }).catch(() => undefined)
      : undefined
    if (found?.fd !== undefined) this.native.closeFd(found.fd)
    if (found?.answer.record !== undefined) return true
    this.shelf.remove(record.key)
    return false
  }

  /** @throws BerthError BERTH_ESHARED */
  async list(): Promise<SharedRow[]> {
    return (await this.demand('list', {})).images
  }

  /** @throws BerthError BERTH_ESHARED */
  async remove(keys: string[]): Promise<{ key: string; size: number }[]> {
    return (await this.demand('remove', { keys })).removed
  }

  /** @throws BerthError BERTH_ESHARED */
  async collect(unused_s: number): Promise<{ key: string; size: number }[]> {
    await this.touchLeased()
    return (await this.demand('collect', { unused_s })).removed
  }

  /** What its sharer publishes it finishes alone; leases it gives back. */
  close(): void {
    this.isClosed = true
    this.restUntil = Number.POSITIVE_INFINITY
    clearInterval(this.touching)
    clearTimeout(this.idle)
    this.sharer?.leave()
  }

  /** For who has to know: what fails is an error. */
  async demand<N extends OrderName>(
    name: N,
    order: Orders[N]['order'],
    fd?: number,
  ): Promise<Orders[N]['answer']> {
    const directory = this.directory
    const { failure } =
      (await this.usable()) || this.state === undefined ? { failure: undefined } : this.state
    if (failure !== undefined) throw new BerthError('BERTH_ESHARED', { directory, ...failure })
    try {
      const options = { isLong: true, ...(fd === undefined ? {} : { fd }) }
      return (await this.ask(name, order, options)).answer
    } catch (error) {
      const fix = 'see the log of the worker and the state of that file system'
      throw new BerthError('BERTH_ESHARED', { directory, problem: messageOf(error), fix }, { cause: error })
    }
  }

  /** The squashfs itself, for who reads it; owned by the caller. @throws Error when it is not there */
  async open(key: string): Promise<number> {
    const { fd } = await this.ask('find', { key })
    if (fd === undefined) throw new Error('it is not there any more')
    return fd
  }

  /** Says so again and again while the directory lets `wanted` wait and `work` reports nothing. */
  private async aloud<T>({ report }: Wanted, work: (report: Wanted['report']) => Promise<T>): Promise<T> {
    const complain = () =>
      report({ phase: 'waiting', done: 0, total: 0, layer: 0, layers: 0, silent: this.directory })
    const timer = setInterval(complain, SILENCE_MS)
    try {
      return await work((progress) => {
        timer.refresh()
        report(progress)
      })
    } finally {
      clearInterval(timer)
    }
  }

  private async import(wanted: Wanted, make: (tell: (share: Share) => void) => Promise<StoreRecord>) {
    const { key, place } = wanted
    this.held++
    let latest: Share = { done: 0, total: 0, layer: 0, layers: 0 }
    let timer: NodeJS.Timeout | undefined
    // The last word counts: after it a slow registry may be silent for long.
    const tell = ({ done, total, layer, layers }: Share) => {
      latest = { done, total, layer, layers }
      timer ??= setTimeout(() => {
        timer = undefined
        void this.try('beat', { key, place, ...latest })
      }, BEAT_MS_MIN)
    }
    const given = () => {
      this.held--
      this.startIdle()
    }
    try {
      const record = await make(tell).finally(() => clearTimeout(timer))
      // The step need not wait for the others' copy.
      void this.publish(record, wanted).finally(given)
      return record
    } catch (error) {
      void this.try('release', { key, place }).finally(given)
      throw error
    }
  }

  private async publish(record: StoreRecord, { place, learned }: Wanted): Promise<void> {
    const told = structuredClone(record)
    learn(told, { ...learned, place })
    const { path: _, pinned: _pinned, owners: _owners, shared: _shared, ...kept } = told
    let fd: number | undefined
    try {
      fd = await openFile(record.path, 'r')
      await this.ask(
        'publish',
        { key: record.key, place, record: { ...kept, pinned: false, owners: [] } },
        { fd, isLong: true },
      )
    } catch (error) {
      this.log(`shared store ${this.directory}: ${record.key} is not published: ${messageOf(error)}`)
      void this.try('release', { key: record.key, place })
    } finally {
      if (fd !== undefined) this.native.closeFd(fd)
    }
  }

  /** Undefined: it is not there any more after all, or was damaged. */
  private async take(
    { key, digest, report }: Wanted,
    json: Record<string, unknown>,
  ): Promise<StoreRecord | undefined> {
    const path = `${this.directory}/images/${key}.sqsh`
    const { filesystem = 0 } = this.state ?? {}
    const { use, copySize } = this.options
    const own = this.shelf.byKey(key)
    if (own !== undefined && own.shared !== true) return own
    try {
      const record = { ...parseRecord(JSON.stringify(json), key, path), digest }
      void this.try('touch', { keys: [key] })
      if (!mountsFromThere(use, filesystem, record.size, copySize)) {
        const tell = (done: number, total: number) =>
          report({ phase: 'importing', done, total, layer: 0, layers: 1 })
        const ask = (fd: number) => this.ask('copy', { key }, { fd, tell, isLong: true })
        const copied = await takeCopy(
          this.native,
          this.shelf,
          record,
          async (fd) => (await ask(fd)).answer.outcome,
        )
        if (copied === 'damaged')
          this.log(
            `shared store ${this.directory}: ${key} was damaged and is removed there; it is imported anew`,
          )
        if (copied !== 'full') return copied === 'damaged' || copied === 'absent' ? undefined : copied
        this.log(`no room for a copy of ${key}: it is mounted from ${this.directory}`)
      }
      return this.shelf.admit({ ...record, shared: true })
    } catch (error) {
      this.rest(messageOf(error))
      return undefined
    }
  }

  private async touchLeased(): Promise<void> {
    const keys = this.shelf.records().filter(({ key, shared }) => shared === true && this.isLeased(key))
    if (keys.length > 0) await this.try('touch', { keys: keys.map(({ key }) => key) })
  }

  /** Undefined, and a line in the log, when it fails; then the directory has its rest. */
  private async try<N extends OrderName>(
    name: N,
    order: Orders[N]['order'],
  ): Promise<Orders[N]['answer'] | undefined> {
    try {
      return (await this.ask(name, order)).answer
    } catch (error) {
      this.rest(messageOf(error))
      return undefined
    }
  }

  private async usable(): Promise<boolean> {
    if (performance.now() < this.restUntil) return false
    if (this.sharer?.alive === true && this.state !== undefined) return this.state.failure === undefined
    const state = await this.try('check', {})
    if (state === undefined) return false
    this.state = state
    if (state.failure === undefined) return true
    const { problem, fix } = state.failure
    this.rest(`is not used: ${problem}; ${fix}`)
    return false
  }

  private rest(why: string): void {
    if (performance.now() < this.restUntil) return
    this.restUntil = performance.now() + REST_MS
    this.log(`shared store ${this.directory}: ${why}; the node's own store is used for ${REST_MS / 1000} s`)
    this.sharer?.leave()
  }

  private async ask<N extends OrderName>(
    name: N,
    order: Orders[N]['order'],
    options?: AskOptions,
  ): Promise<Answered<N>> {
    if (this.isClosed) throw new Error('the worker ends')
    clearTimeout(this.idle)
    this.orders++
    try {
      if (this.sharer?.alive !== true) {
        const { directory, uid, gid, node, stale_ms } = this.options
        this.sharer = new Sharer(this.native, this.distDir, { directory, uid, node, stale_ms }, { uid, gid })
      }
      return await this.sharer.ask(name, order, options)
    } finally {
      this.orders--
      this.startIdle()
    }
  }

  private startIdle(): void {
    clearTimeout(this.idle)
    if (this.orders > 0 || this.held > 0) return
    this.idle = setTimeout(() => this.sharer?.leave(), IDLE_MS_MAX)
    this.idle.unref()
  }
}
