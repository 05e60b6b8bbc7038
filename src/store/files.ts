// SPDX-License-Identifier: Apache-2.0
/** Squashfs files by path: trusted ones are mounted themselves, of others a verified copy is kept in the store. */
import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import type { ImageReference, StoredImage } from '../image/image.js'
import type { SignatureOrder } from '../image/wire.js'
import type { LoopImage } from '../native.js'
import type { Access } from './access.js'
import { type ImportProgress, WAITING } from './ask.js'
import type { Flights } from './flight.js'
import type { Gate } from './gate.js'
import { type Facts, type Intake, importSquashfs, inspectSquashfs } from './intake.js'
import type { EnsureOptions } from './options.js'
import type { StoreRecord } from './record.js'
import { type OpenedFile, openSquashfs, TrustedFiles } from './squashfile.js'

const FACTS_MAX = 1000
/** Of a hash, in a key: two policies of a site do not meet by chance. */
const POLICY_CHARS = 16

export class FileImages {
  private readonly trusted: TrustedFiles
  private readonly facts = new Map<string, Facts>()

  constructor(
    private readonly intake: Intake,
    private readonly flights: Flights<ImportProgress, StoreRecord>,
    private readonly gate: Gate,
  ) {
    this.trusted = new TrustedFiles(intake.native)
  }

  /** @throws BerthError BERTH_EIMAGEFILE, BERTH_ESQUASHFS */
  async ensure(reference: ImageReference, path: string, options: EnsureOptions): Promise<StoredImage> {
    const file = await openSquashfs(this.intake.native, path, options.access)
    if (file.trusted) return this.takeTrusted(reference, path, file, options)
    return this.takeCopy(reference, file, options)
  }

  /** Without a copy being made. @throws BerthError as ensure */
  async find(reference: ImageReference, path: string, access: Access): Promise<StoredImage | undefined> {
    const { native, shelf } = this.intake
    const file = await openSquashfs(native, path, access)
    if (file.trusted) return this.takeTrusted(reference, path, file, { access })
    native.closeFd(file.fd)
    const known = shelf.byKey(this.copyKey(file, this.signaturesOf(file)))
    if (known !== undefined) shelf.use(known)
    return known
  }

  /** Undefined: not one of ours. */
  attach(image: StoredImage): Promise<LoopImage> | undefined {
    return this.trusted.owns(image.key) ? this.trusted.attach(image.key, image.path) : undefined
  }

  close(): void {
    this.trusted.close()
  }

  private async takeTrusted(
    reference: ImageReference,
    path: string,
    { fd, key, size, modified }: OpenedFile,
    { access }: EnsureOptions,
  ): Promise<StoredImage> {
    const known = this.facts.get(key)
    if (known === undefined && this.facts.size >= FACTS_MAX) this.facts.clear()
    try {
      const wanted = this.intake.facts.get(key) === undefined
      const { facts: libraries, ...facts } =
        known ?? (await inspectSquashfs(this.intake, reference, fd, access, wanted))
      if (libraries !== undefined) this.intake.facts.set(key, libraries)
      this.facts.set(key, facts)
      this.trusted.keep(key, fd)
      return { ...facts, key, digest: '', path: resolve(access.cwd, path), size, created: modified }
    } catch (error) {
      this.intake.native.closeFd(fd)
      throw error
    }
  }

  /** @throws BerthError BERTH_ESITE when the site's keys cannot be read */
  private signaturesOf({ sif }: OpenedFile): SignatureOrder | undefined {
    return sif ? this.intake.signatures?.() : undefined
  }

  /** What was taken by another policy or other keys has another key: it is not found any more. */
  private copyKey({ key }: OpenedFile, signatures: SignatureOrder | undefined): string {
    const owned = this.intake.settings.owners === 'root' ? `${key}-root` : key
    if (signatures === undefined) return owned
    const hash = createHash('sha256').update(`${signatures.policy} ${signatures.keys}`).digest('hex')
    return `${owned}-${hash.slice(0, POLICY_CHARS)}`
  }

  private async takeCopy(
    reference: ImageReference,
    file: OpenedFile,
    { access, progress, signal }: EnsureOptions,
  ): Promise<StoredImage> {
    const { native, shelf } = this.intake
    const { fd } = file
    let taken = false
    try {
      const signatures = this.signaturesOf(file)
      const key = this.copyKey(file, signatures)
      const known = shelf.byKey(key)
      if (known !== undefined) {
        shelf.use(known)
        return known
      }
      return await this.flights.join(key, { progress, signal }, async (report, stop) => {
        // From here on the descriptor is the flight's, whoever of its passengers leaves.
        taken = true
        report(WAITING)
        try {
          const leave = await this.gate.enter(access.uid, stop)
          const settings = { ...this.intake.settings, ...(signatures === undefined ? {} : { signatures }) }
          const intake = { ...this.intake, settings }
          return await importSquashfs(intake, reference, key, fd, access, report, stop).finally(leave)
        } finally {
          native.closeFd(fd)
        }
      })
    } finally {
      if (!taken) native.closeFd(fd)
    }
  }
}
