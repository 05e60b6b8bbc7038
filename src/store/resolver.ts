// SPDX-License-Identifier: Apache-2.0
/** Names to digests, and by that the proof who may have which image. */
import type { ImageReference } from '../image/image.js'
import type { Access } from './access.js'
import { type Asking, askDigest } from './ask.js'
import { Flights } from './flight.js'
import { Grants } from './grants.js'
import type { Intake } from './intake.js'
import { placeOf, type StoreRecord } from './record.js'

interface Answer {
  digest: string
  open: boolean
}

const RECENT_MAX = 1000

export class Resolver {
  private readonly questions = new Flights<Asking, Answer>()
  private readonly recent = new Map<string, { digest: string; until: number }>()
  private readonly grants = new Grants()

  /** @param ttl_ms how long an answer holds for a tag */
  constructor(
    private readonly intake: Intake,
    private readonly ttl_ms: number,
  ) {}

  /**
   * A registry is asked with the user's own credentials, at most once for all who ask at a time. Afterwards the user
   * may have the image of that digest, or its place has proved it.
   */
  async resolve(
    reference: ImageReference,
    access: Access,
    progress?: (asking: Asking) => void,
  ): Promise<string> {
    const { source } = reference
    if (source.kind === 'squashfs' || source.kind === 'directory') return ''
    if (source.kind === 'dockerd' && source.archive === undefined && source.id !== undefined) return source.id
    if (source.kind !== 'registry')
      return (await askDigest(this.intake, reference, access, () => undefined)).digest
    const { shelf } = this.intake
    if (source.digest !== undefined && shelf.byDigest(source.digest)?.open === true) return source.digest
    const key = `${access.uid} ${reference.canonical}`
    const known = this.recent.get(key)
    const place = placeOf(reference)
    if (
      known !== undefined &&
      known.until > performance.now() &&
      this.isStillProved(place, known.digest, access)
    )
      return known.digest
    const { digest, open } = await this.questions.join(key, { progress }, (report) =>
      askDigest(this.intake, reference, access, report),
    )
    if (this.recent.size >= RECENT_MAX) this.recent.clear()
    this.recent.set(key, { digest, until: performance.now() + this.ttl_ms })
    this.grant(access.uid, place, digest)
    const record = shelf.byDigest(digest)
    if (record?.places.includes(place)) shelf.use(record, { open, reference: reference.canonical })
    return digest
  }

  grant(uid: number, place: string, digest: string): void {
    this.grants.give(uid, place, digest)
  }

  isGranted(record: StoreRecord, uid: number): boolean {
    if (record.open || record.owners.includes(uid)) return true
    return this.grants.has(uid, record.places, [record.digest, ...record.aliases])
  }

  /** Whether that place has lately given this very digest to this user. */
  isProved(place: string, digest: string, uid: number): boolean {
    return this.grants.has(uid, [place], [digest])
  }

  /** A site may let a tag hold for longer than anybody's proof lasts. */
  private isStillProved(place: string, digest: string, { uid }: Access): boolean {
    const record = this.intake.shelf.byDigest(digest)
    return this.isProved(place, digest, uid) || (record !== undefined && this.isGranted(record, uid))
  }
}
