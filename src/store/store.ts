// SPDX-License-Identifier: Apache-2.0
/** The images of this node, for steps: resolved, imported once, shared, held mounted. */
import { openSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { CredentialDocument } from '../image/credentials.js'
import type { ImageFacts } from '../image/facts.js'
import type { ImageReference, StoredImage } from '../image/image.js'
import { familiarName, pinReference } from '../image/reference.js'
import { withImage } from '../image/wire.js'
import type { LoopImage, Native } from '../native.js'
import { BerthError, messageOf } from '../report/errors.js'
import { Turns } from '../worker/turns.js'
import type { Access } from './access.js'
import { type Asking, credentialsFor, type ImportProgress, type Report, WAITING } from './ask.js'
import { Containers } from './containers.js'
import { Devices, type Lease } from './device.js'
import { FactsFiles } from './facts.js'
import { FileImages } from './files.js'
import { findFacts } from './find_facts.js'
import { Flights } from './flight.js'
import { Gate } from './gate.js'
import { formatsOf, type Intake, importImage, type WantedImage } from './intake.js'
import { Inventory } from './inventory.js'
import type { EnsureOptions, StoreOptions } from './options.js'
import { ImporterPool } from './pool.js'
import { placeOf, type StoreRecord } from './record.js'
import { Resolver } from './resolver.js'
import { Shared } from './shared/shared.js'
import { Shelf } from './shelf.js'
import { isTrustedKey } from './squashfile.js'
import { openNameless, reserveStepFile, type StepFile } from './step_file.js'

export type { Access, Asking, ImportProgress, StoreOptions }

/** Each takes as many threads as the site says; more at once would only make all of them late. Two for one user. */
const IMPORTS_AT_ONCE_MAX = Math.max(3, Math.floor(availableParallelism() / 4))
/** Each is a process of the worker's, beside all cgroups of jobs; a registry may keep every one of them waiting. */
const IMPORTERS_PER_USER_MAX = 8
/** Beyond this the one stream of tar entries is the limit. */
const THREADS_MAX = 16

/** What a registry answers to who may not have an image. */
const REFUSALS: ReadonlySet<string> = new Set(['BERTH_EAUTH', 'BERTH_EIMAGENOTFOUND'])

export class Store {
  private readonly flights = new Flights<ImportProgress, StoreRecord>()
  private readonly gate = new Gate(IMPORTS_AT_ONCE_MAX)
  /** Named ones: what they sit on is never collected. */
  readonly containers: Containers
  readonly inventory: Inventory
  private readonly devices: Devices
  private readonly shelf: Shelf
  private readonly intake: Intake
  private readonly resolver: Resolver
  private readonly files: FileImages
  private readonly shared: Shared | undefined
  private readonly factsUnderway = new Map<string, Promise<ImageFacts>>()

  private constructor(
    options: StoreOptions,
    private readonly native: Native,
  ) {
    const { distDir, importerUser: user, bytesMax, compressor, level, blockSize, entriesMax } = options
    const owners = options.owners ?? 'root'
    const threads = options.threads === 0 ? Math.min(THREADS_MAX, availableParallelism()) : options.threads
    const limits = { quota: options.quotaBytes, floor: options.freeFloorBytes }
    this.devices = new Devices(native)
    const settings = { compressor, level, blockSize, threads, bytesMax, entriesMax, owners, facts: true }
    this.containers = new Containers(options.directory, native, options.log)
    const isKept = (key: string) => this.devices.leases(key) > 0 || this.containers.need(key)
    const facts = new FactsFiles(options.directory)
    const forget = (key: string) => facts.remove(key)
    this.shelf = new Shelf(options.directory, limits, isKept, formatsOf(settings), forget, options.log)
    facts.open((key) => this.shelf.byKey(key) !== undefined, isTrustedKey)
    this.shared = this.openShared(options)
    this.intake = {
      native,
      ...(this.shared === undefined ? {} : { shared: this.shared }),
      pool: new ImporterPool(native, { distDir, user, bytesMax, proxy: options.proxy ?? {} }),
      shelf: this.shelf,
      facts,
      settings,
      insecure: options.insecure ?? [],
      mirrors: options.mirrors ?? [],
      turns: new Turns(IMPORTERS_PER_USER_MAX),
      reuse: options.reuse ?? 'user',
      signatures: options.signatures,
      log: options.log ?? (() => {}),
    }
    this.resolver = new Resolver(this.intake, options.tagTtlSeconds * 1000)
    this.files = new FileImages(this.intake, this.flights, this.gate)
    this.inventory = new Inventory(this.intake, this.devices, this.containers, this.resolver)
  }

  /** Drops what a crash left behind. @throws the file system's error when the directory cannot be used */
  static async open(options: StoreOptions): Promise<Store> {
    return new Store(options, options.native ?? (await import('../native.js')).native)
  }

  /**
   * The digest that the reference names now; with the user's own credentials, so that the answer is also the proof
   * that the user may have the image. A squashfs file has none: ''. @throws BerthError
   */
  async resolve(
    reference: ImageReference,
    access: Access,
    asking?: (asking: Asking) => void,
  ): Promise<{ digest: string }> {
    try {
      return { digest: await this.resolver.resolve(reference, access, asking) }
    } catch (error) {
      throw explain(error, reference, undefined)
    }
  }

  /**
   * The image, imported unless it is there. All who ask for one digest at a time from one repository share one import; each has its own
   * progress and may leave by its signal; when the last one leaves, the import ends and nothing of it stays.
   * @throws BerthError
   */
  async ensure(reference: ImageReference, digest: string, options: EnsureOptions): Promise<StoredImage> {
    try {
      options.signal?.throwIfAborted()
      const { source } = reference
      if (source.kind === 'squashfs') return await this.files.ensure(reference, source.path, options)
      return await this.ensureImage(reference, digest, options)
    } catch (error) {
      throw explain(error, reference, options.signal)
    }
  }

  /** The image if it is there already; imports nothing. @throws BerthError */
  async find(reference: ImageReference, access: Access): Promise<StoredImage | undefined> {
    const { source } = reference
    if (source.kind === 'directory' || source.kind === 'dockerd') return undefined
    try {
      if (source.kind === 'squashfs') return await this.files.find(reference, source.path, access)
      const known = this.shelf.byDigest(await this.resolver.resolve(reference, access))
      if (known === undefined || !this.resolver.isGranted(known, access.uid)) return undefined
      if (known.shared === true && !(await this.shared?.keeps(known))) return undefined
      this.shelf.use(known)
      return known
    } catch (error) {
      throw explain(error, reference, undefined)
    }
  }

  /** The image on a loop device, shared by all leases. */
  hold(image: StoredImage): Promise<Lease> {
    return this.devices.hold(image.key, () => this.files.attach(image) ?? this.attach(image))
  }

  /** What hookup needs to know of it; looked for now where an earlier version imported it. Never fails. */
  async facts(image: StoredImage): Promise<ImageFacts> {
    const { key } = image
    return this.intake.facts.get(key) ?? this.factsUnderway.get(key) ?? this.findFacts(image)
  }

  /** Its file, which the caller closes. A server that hangs must not hold up all steps of the node. @throws Error */
  async open({ key, path, shared }: StoredImage): Promise<number> {
    return shared === true ? this.common().open(key) : openSync(path, 'r')
  }

  /** By its key, without asking a registry: for who has proved a right to it before. */
  byKey(key: string): StoredImage | undefined {
    const record = this.shelf.byKey(key)
    if (record !== undefined) this.shelf.use(record)
    return record
  }

  /** Whether an image of that digest is there and was this user's before. */
  hasFor(uid: number, digest: string): boolean {
    const known = this.shelf.byDigest(digest)
    return known !== undefined && this.resolver.isGranted(known, uid)
  }

  /** A file without a name for an image on its way, and room for so many bytes, as far as there is. The caller closes it. */
  openScratch(bytes: number): { fd: number; bytesMax: number } {
    this.shelf.directory.make()
    this.shelf.collect(bytes)
    return { fd: openNameless(this.native, this.shelf), bytesMax: this.intake.settings.bytesMax }
  }

  /** The store of several nodes. @throws BerthError BERTH_ESHARED when the site has none */
  common(): Shared {
    if (this.shared !== undefined) return this.shared
    const fix = 'set shared_store=DIR in berth.conf and restart the worker'
    throw new BerthError('BERTH_ESHARED', { directory: 'of this site', problem: 'there is none', fix })
  }

  /** For one step to write to, within quota and floor. @throws BerthError BERTH_EWRITABLE */
  reserveFile(uid: number, bytes: number): Promise<StepFile> {
    return reserveStepFile(this.native, this.shelf, { uid, bytes })
  }

  /** Ends all imports; running steps keep their mounts. */
  async close(): Promise<void> {
    await this.flights.close(new BerthError('BERTH_ECANCELED', { image: 'an image' }))
    await this.intake.pool.close()
    this.shared?.close()
    this.devices.close()
    this.files.close()
  }

  private async ensureImage(
    reference: ImageReference,
    digest: string,
    { access, progress, signal }: EnsureOptions,
  ): Promise<StoredImage> {
    const fromRegistry = reference.source.kind === 'registry'
    const asking = (slow: Asking) => progress?.({ ...WAITING, asking: slow })
    const asked = digest === '' ? await this.resolver.resolve(reference, access, asking) : digest
    const place = placeOf(reference)
    // A file of one's own proves nothing about others' images: its import is shared with nobody else. Nor does what
    // another registry calls by that digest.
    const key = `${fromRegistry ? place : access.uid} ${asked}`
    let credentials: CredentialDocument[] | undefined
    let isAsked = false
    for (;;) {
      const known = this.shelf.byDigest(asked)
      const granted = known !== undefined && this.resolver.isGranted(known, access.uid)
      if (known !== undefined && granted) {
        if (known.shared === true && !(await this.shared?.keeps(known))) continue
        this.shelf.use(known)
        return known
      }
      const shared = known !== undefined || this.flights.has(key)
      if (!shared || !fromRegistry || isAsked || this.resolver.isProved(place, asked, access.uid)) {
        if (credentials !== undefined) break
        // Before the flight, which others ride in: they do not wait for this user's programs.
        credentials = await credentialsFor(this.intake, reference, access)
      } else {
        // Others' work or image: it is there after the proof, or must be looked for again.
        await this.resolver.resolve(pinReference(reference, asked), access, asking)
        isAsked = true
      }
    }
    const wanted = { reference, digest: asked, access, credentials }
    for (;;) {
      let isOwn = false
      try {
        return await this.flights.join(key, { progress, signal }, (report, stop) => {
          isOwn = true
          return this.import(wanted, report, stop)
        })
      } catch (error) {
        // The registry's word to somebody else's credentials: this user has others.
        if (isOwn || !(error instanceof BerthError) || !REFUSALS.has(error.code)) throw error
      }
    }
  }

  private async import(wanted: WantedImage, report: Report, signal: AbortSignal): Promise<StoreRecord> {
    const { reference, digest, access } = wanted
    report(WAITING)
    const leave = await this.gate.enter(access.uid, signal)
    try {
      const record = await importImage(this.intake, wanted, report, signal)
      const place = placeOf(reference)
      if (place !== '') this.resolver.grant(access.uid, place, digest)
      return record
    } finally {
      leave()
    }
  }

  private attach(image: StoredImage): Promise<LoopImage> {
    const record = this.shelf.byKey(image.key)
    if (image.shared === true && record !== undefined && this.shared !== undefined)
      return this.shared.attach(record)
    return this.native.attachImage(image.path)
  }

  /** What the node knows of another directory, or of none any more, it forgets. */
  private openShared({ shared, distDir, log = () => undefined }: StoreOptions): Shared | undefined {
    const { shelf, native } = this
    for (const { key, path, shared: isShared } of shelf.records())
      if (isShared === true && (shared === undefined || !path.startsWith(`${shared.directory}/`)))
        shelf.remove(key)
    if (shared === undefined) return undefined
    const opened = new Shared(native, shelf, distDir, shared, (key) => this.devices.leases(key) > 0, log)
    void opened.check()
    return opened
  }

  private findFacts(image: StoredImage): Promise<ImageFacts> {
    const { key } = image
    const open = () => this.open(image)
    const found = findFacts(this.intake, image, open).finally(() => this.factsUnderway.delete(key))
    this.factsUnderway.set(key, found)
    return found
  }
}

/** Every failure leaves with a code and the name of the image. */
function explain(error: unknown, reference: ImageReference, signal: AbortSignal | undefined): Error {
  const image = familiarName(reference)
  if (signal?.aborted) return new BerthError('BERTH_ECANCELED', { image }, { cause: error })
  if (error instanceof BerthError) return withImage(error, image)
  const problem = messageOf(error)
  return new BerthError('BERTH_EINTERNAL', { problem: `import of ${image}: ${problem}` }, { cause: error })
}
