// SPDX-License-Identifier: Apache-2.0
/** The images of this node: resolved, imported once, shared, held mounted, collected (DESIGN.md §2). */
import { availableParallelism } from 'node:os'
import type { ImageReference, StoredImage } from '../image/image.js'
import { familiarName, isDigest, parseReference, pinReference } from '../image/reference.js'
import { withImage } from '../image/wire.js'
import type { Native } from '../native.js'
import { BerthError } from '../report/errors.js'
import type { Access } from './access.js'
import { Devices, type Lease } from './device.js'
import { Flights } from './flight.js'
import { Gate } from './gate.js'
import { Grants } from './grants.js'
import { ImporterPool } from './importer.js'
import { askDigest, type ImportProgress, type Intake, importImage } from './intake.js'
import type { StoreRecord } from './record.js'
import { type Removed, Shelf } from './shelf.js'
import { SquashFiles } from './squashfile.js'

export type { Access, ImportProgress, Lease, Removed }

export interface StoreOptions {
  directory: string
  /** Account of the importers. */
  importerUser: { uid: number; gid: number }
  compressor: 'zstd' | 'lz4' | 'gzip' | 'none'
  level: number
  blockSize: number
  threads: number
  /** Uncompressed bytes and files beyond which an image is refused. */
  bytesMax: number
  entriesMax: number
  /** Bytes; 0: no limit of its own. */
  quotaBytes: number
  freeFloorBytes: number
  /** A tag that was resolved this recently is not asked for again. */
  tagTtlSeconds: number
  /** The built program, dist/. */
  distDir: string
  /** Hosts that may be spoken to by plain http. */
  insecure?: string[]
  /** The addon; by default the one beside the program. */
  native?: Native
}

export interface EnsureOptions {
  access: Access
  progress?: ((progress: ImportProgress) => void) | undefined
  signal?: AbortSignal | undefined
}

export interface ImageRow {
  key: string
  reference: string
  digest: string
  size: number
  /** Seconds since the epoch. */
  created: number
  used: number
  leases: number
  pinned: boolean
}

interface Answer {
  digest: string
  open: boolean
}

/** Each takes as many threads as the site says; more at once would only make all of them late. */
const IMPORTS_AT_ONCE_MAX = Math.max(2, Math.floor(availableParallelism() / 4))
const RECENT_MAX = 1000

export class Store {
  private readonly flights = new Flights<ImportProgress, StoreRecord>()
  private readonly questions = new Flights<never, Answer>()
  private readonly recent = new Map<string, { answer: Answer; until: number }>()
  private readonly grants = new Grants()
  private readonly gate = new Gate(IMPORTS_AT_ONCE_MAX)
  private readonly devices: Devices
  private readonly files: SquashFiles
  private readonly shelf: Shelf
  private readonly intake: Intake

  private constructor(
    private readonly options: StoreOptions,
    private readonly native: Native,
  ) {
    this.devices = new Devices(native)
    this.files = new SquashFiles(native)
    const limits = { quota: options.quotaBytes, floor: options.freeFloorBytes }
    this.shelf = new Shelf(options.directory, limits, (key) => this.devices.leases(key) > 0)
    const {
      distDir,
      importerUser: user,
      bytesMax,
      compressor,
      level,
      blockSize,
      threads,
      entriesMax,
    } = options
    this.intake = {
      native,
      pool: new ImporterPool(native, { distDir, user, bytesMax }),
      shelf: this.shelf,
      settings: { compressor, level, blockSize, threads, bytesMax, entriesMax },
      insecure: options.insecure ?? [],
    }
  }

  /** Drops what a crash left behind. @throws the file system's error when the directory cannot be used */
  static async open(options: StoreOptions): Promise<Store> {
    return new Store(options, options.native ?? (await import('../native.js')).native)
  }

  /** Starts a spare importer, for a request that is about to come. */
  warm(): void {
    this.intake.pool.warm()
  }

  /**
   * The digest that the reference names now; with the user's own credentials, so that the answer is also the proof
   * that the user may have the image. A squashfs file has none: ''.
   */
  async resolve(reference: ImageReference, access: Access): Promise<{ digest: string }> {
    const { source } = reference
    if (source.kind === 'squashfs') return { digest: '' }
    if (source.kind !== 'registry') return { digest: (await this.ask(reference, access)).digest }
    const pinned = source.digest === undefined ? undefined : this.shelf.byDigest(source.digest)
    if (pinned?.open === true && source.digest !== undefined) return { digest: source.digest }
    const key = `${access.uid} ${reference.canonical}`
    const known = this.recent.get(key)
    if (known !== undefined && known.until > Date.now()) return { digest: known.answer.digest }
    const answer = await this.questions.join(key, {}, () => this.ask(reference, access))
    if (this.recent.size >= RECENT_MAX) this.recent.clear()
    this.recent.set(key, { answer, until: Date.now() + this.options.tagTtlSeconds * 1000 })
    this.grants.give(access.uid, answer.digest)
    const record = this.shelf.byDigest(answer.digest)
    if (record !== undefined) this.shelf.use(record, { open: answer.open, reference: reference.canonical })
    return { digest: answer.digest }
  }

  /**
   * The image, imported unless it is there. All who ask for one digest at a time share one import; each has its own
   * progress and may leave by its signal; when the last one leaves, the import ends and nothing of it stays.
   * @throws BerthError
   */
  async ensure(reference: ImageReference, digest: string, options: EnsureOptions): Promise<StoredImage> {
    const { access, progress, signal } = options
    const { source } = reference
    try {
      signal?.throwIfAborted()
      if (source.kind === 'squashfs') return await this.files.open(source.path, access)
      const asked = digest === '' ? (await this.resolve(reference, access)).digest : digest
      const known = this.shelf.byDigest(asked)
      if (known !== undefined && (await this.mayHave(known, reference, asked, access))) {
        this.shelf.use(known)
        return known
      }
      // A file of one's own proves nothing about others' images: its import is shared with nobody else.
      const key = source.kind === 'registry' ? asked : `${access.uid} ${asked}`
      if (source.kind === 'registry' && this.flights.has(key)) await this.prove(reference, asked, access)
      return await this.flights.join(key, { progress, signal }, (report, stop) =>
        this.import(reference, asked, access, report, stop),
      )
    } catch (error) {
      throw explain(error, reference, signal)
    }
  }

  /** The image on a loop device, shared by all leases. */
  hold(image: StoredImage): Promise<Lease> {
    return this.devices.hold(image.key, () =>
      image.digest === ''
        ? this.files.attach(image)
        : this.native.attachImage(image.path, { directIo: true }),
    )
  }

  /** What is there; a user other than root sees what that user may have. */
  list(uid = 0): ImageRow[] {
    const seen = this.shelf.records().filter((record) => uid === 0 || this.isGranted(record, uid))
    return seen.map(({ key, references, digest, size, created, used, pinned }) => ({
      ...{ key, digest, size, created, pinned, reference: references[0] ?? '' },
      used: Math.floor(used / 1000),
      leases: this.devices.leases(key),
    }))
  }

  /** By key, digest or name, one or several. @throws BerthError BERTH_ENOSUCHIMAGE, BERTH_EINUSE */
  async remove(names: string | readonly string[]): Promise<Removed[]> {
    const chosen = [names].flat().flatMap((name) => {
      const found = this.find(name)
      if (found.length === 0) throw new BerthError('BERTH_ENOSUCHIMAGE', { image: name })
      return found
    })
    for (const { key, references } of chosen) {
      const count = this.devices.leases(key)
      if (count > 0) throw new BerthError('BERTH_EINUSE', { image: references[0] ?? key, count })
    }
    return [...new Set(chosen.map(({ key }) => key))].map((key) => {
      this.devices.drop(key)
      return this.shelf.remove(key)
    })
  }

  pin(name: string, pinned: boolean): void {
    const found = this.find(name)
    if (found.length === 0) throw new BerthError('BERTH_ENOSUCHIMAGE', { image: name })
    for (const { key } of found) this.shelf.pin(key, pinned)
  }

  /** Makes room for so many bytes within quota and floor, or removes all that is not in use. */
  async collect(request: number | { all: boolean } = 0): Promise<{ removed: Removed[] }> {
    if (typeof request === 'object' && request.all) {
      const idle = this.shelf.records().filter(({ key, pinned }) => !pinned && this.devices.leases(key) === 0)
      return { removed: await this.remove(idle.map(({ key }) => key)) }
    }
    return { removed: this.shelf.collect(typeof request === 'number' ? request : 0) }
  }

  /** Ends all imports; running steps keep their mounts. */
  async close(): Promise<void> {
    await this.flights.close(new BerthError('BERTH_ECANCELED', { image: 'an image' }))
    await this.intake.pool.close()
    this.devices.close()
    this.files.close()
  }

  private async import(
    reference: ImageReference,
    digest: string,
    access: Access,
    report: (progress: ImportProgress) => void,
    signal: AbortSignal,
  ): Promise<StoreRecord> {
    report({ phase: 'waiting', done: 0, total: 0, layer: 0, layers: 0 })
    const leave = await this.gate.enter(signal)
    try {
      const record = await importImage(this.intake, reference, digest, access, report, signal)
      this.grants.give(access.uid, digest)
      return record
    } finally {
      leave()
    }
  }

  private async ask(reference: ImageReference, access: Access): Promise<Answer> {
    return askDigest(this.intake, reference, access).catch((error) => {
      throw explain(error, reference, undefined)
    })
  }

  private isGranted(record: StoreRecord, uid: number): boolean {
    if (record.open || record.owners.includes(uid)) return true
    return this.grants.has(uid, [record.digest, ...record.aliases])
  }

  private async mayHave(record: StoreRecord, reference: ImageReference, digest: string, access: Access) {
    if (this.isGranted(record, access.uid)) return true
    if (reference.source.kind !== 'registry') return false
    await this.prove(reference, digest, access)
    return true
  }

  /** @throws BerthError when the registry does not give this digest to this user */
  private async prove(reference: ImageReference, digest: string, access: Access): Promise<void> {
    if (this.grants.has(access.uid, [digest])) return
    await this.resolve(pinReference(reference, digest), access)
  }

  private find(name: string): StoreRecord[] {
    const records = this.shelf.records()
    if (isDigest(name) || this.shelf.has(name)) {
      return records.filter(
        ({ key, digest, aliases }) => key === name || digest === name || aliases.includes(name),
      )
    }
    const { canonical } = parseReference(name)
    return records.filter(({ references }) => references.includes(canonical))
  }
}

/** Every failure leaves with a code and the name of the image. */
function explain(error: unknown, reference: ImageReference, signal: AbortSignal | undefined): Error {
  const image = familiarName(reference)
  if (signal?.aborted) return new BerthError('BERTH_ECANCELED', { image }, { cause: error })
  if (error instanceof BerthError) return withImage(error, image)
  const problem = error instanceof Error ? error.message : String(error)
  return new BerthError('BERTH_EINTERNAL', { problem: `import of ${image}: ${problem}` }, { cause: error })
}
