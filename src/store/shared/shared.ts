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
import { type DirectoryOptions, SharedDirectory } from './directory.js'
import { mountsFromThere, type ShareUse } from './policy.js'
import type { Share, SharedRow } from './wire.js'

export interface SharedOptions extends DirectoryOptions {
  use: ShareUse
  /** Bytes up to which an image is copied whatever the file system. */
  copySize: number
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
const BEAT_MS_MIN = 1000
/** A user who waits for longer is told for what. */
const SILENCE_MS = 2000
/** A use is noted this often while a step lasts, so that `berth gc --shared` sees it. */
const TOUCH_MS = 6 * 3_600_000

export class Shared {
  private readonly there: SharedDirectory
  private readonly touching: NodeJS.Timeout

  constructor(
    private readonly native: Native,
    private readonly shelf: Shelf,
    distDir: string,
    private readonly options: SharedOptions,
    private readonly isLeased: (key: string) => boolean,
    private readonly log: (line: string) => void,
  ) {
    this.there = new SharedDirectory(native, distDir, options, log)
    this.touching = setInterval(() => void this.touchLeased(), TOUCH_MS)
    this.touching.unref()
  }

  get directory(): string {
    return this.there.path
  }

  /** A first look, so that the log says what is wrong before a step needs it. */
  async check(): Promise<void> {
    await this.there.usable()
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
    for (let polls = 0; await this.aloud(wanted, () => this.there.usable()); polls++) {
      signal.throwIfAborted()
      const order = { key: wanted.key, place: wanted.place }
      const turn = await this.aloud(wanted, () => this.there.try('acquire', order))
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
    const answered = await this.there.ask('find', { key }).catch((error: Error) => error)
    const fd = answered instanceof Error ? undefined : answered.fd
    if (fd === undefined) {
      this.shelf.remove(key)
      const image = references[0] ?? digest
      const problem = answered instanceof Error ? answered.message : 'it was removed there'
      throw new BerthError('BERTH_ESHAREDIMAGE', { image, directory: this.directory, problem })
    }
    try {
      void this.there.try('touch', { keys: [key] })
      return await this.native.attachImageFd(fd, 0)
    } finally {
      this.native.closeFd(fd)
    }
  }

  /** Whether an image that the node mounts from there can still be had; if not, nothing of it stays here. */
  async keeps(record: StoreRecord): Promise<boolean> {
    if (record.shared !== true || this.isLeased(record.key)) return true
    const found = (await this.there.usable())
      ? await this.there.ask('find', { key: record.key }).catch(() => undefined)
      : undefined
    if (found?.fd !== undefined) this.native.closeFd(found.fd)
    if (found?.answer.record !== undefined) return true
    this.shelf.remove(record.key)
    return false
  }

  /** @throws BerthError BERTH_ESHARED */
  async list(): Promise<SharedRow[]> {
    return (await this.there.demand('list', {})).images
  }

  /** @throws BerthError BERTH_ESHARED */
  async remove(keys: string[]): Promise<{ key: string; size: number }[]> {
    return (await this.there.demand('remove', { keys })).removed
  }

  /** @throws BerthError BERTH_ESHARED */
  async collect(unused_s: number): Promise<{ key: string; size: number }[]> {
    await this.touchLeased()
    return (await this.there.demand('collect', { unused_s })).removed
  }

  /** What is being published is finished; leases are given back. */
  close(): void {
    clearInterval(this.touching)
    this.there.close()
  }

  /** The squashfs itself, for who reads it; owned by the caller. @throws Error when it is not there */
  async open(key: string): Promise<number> {
    const { fd } = await this.there.ask('find', { key })
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
    const given = this.there.hold()
    let latest: Share = { done: 0, total: 0, layer: 0, layers: 0 }
    let timer: NodeJS.Timeout | undefined
    // The last word counts: after it a slow registry may be silent for long.
    const tell = ({ done, total, layer, layers }: Share) => {
      latest = { done, total, layer, layers }
      timer ??= setTimeout(() => {
        timer = undefined
        void this.there.try('beat', { key, place, ...latest })
      }, BEAT_MS_MIN)
    }
    try {
      const record = await make(tell).finally(() => clearTimeout(timer))
      // The step need not wait for the others' copy.
      void this.publish(record, wanted).finally(given)
      return record
    } catch (error) {
      void this.there.try('release', { key, place }).finally(given)
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
      await this.there.ask(
        'publish',
        { key: record.key, place, record: { ...kept, pinned: false, owners: [] } },
        { fd, isLong: true },
      )
    } catch (error) {
      this.log(`shared store ${this.directory}: ${record.key} is not published: ${messageOf(error)}`)
      void this.there.try('release', { key: record.key, place })
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
    const { use, copySize } = this.options
    const own = this.shelf.byKey(key)
    if (own !== undefined && own.shared !== true) return own
    try {
      const record = { ...parseRecord(JSON.stringify(json), key, path), digest }
      void this.there.try('touch', { keys: [key] })
      if (!mountsFromThere(use, this.there.filesystem, record.size, copySize)) {
        const tell = (done: number, total: number) =>
          report({ phase: 'importing', done, total, layer: 0, layers: 1 })
        const ask = (fd: number) => this.there.ask('copy', { key }, { fd, tell, isLong: true })
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
      this.there.rest(messageOf(error))
      return undefined
    }
  }

  private async touchLeased(): Promise<void> {
    const keys = this.shelf.records().filter(({ key, shared }) => shared === true && this.isLeased(key))
    if (keys.length > 0) await this.there.try('touch', { keys: keys.map(({ key }) => key) })
  }
}
