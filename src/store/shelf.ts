// SPDX-License-Identifier: Apache-2.0
/** What is in the store: found by digest, aged by use, given up for space. */
import { bytesOver, type Candidate, chooseVictims, type SpaceLimits } from './collect.js'
import { Directory, type Entry } from './directory.js'
import { type Learned, learn, type StoreRecord } from './record.js'

/** Between ensure() and hold() an image is nobody's yet; collecting it then would fail a step that is starting. */
const GRACE_MS = 60_000

export interface Removed {
  key: string
  size: number
}

export class Shelf {
  readonly directory: Directory
  private readonly entries: Map<string, Entry>
  private readonly held = new Map<string, number>()
  /** Images of which more is known than could be written. */
  private readonly unsaved = new Set<string>()

  /**
   * @param isLeased whether a running step uses the image with that key
   * @param formats ends of the keys that are found by digest, the best first; others stay until they are collected
   */
  constructor(
    path: string,
    private readonly limits: SpaceLimits,
    private readonly isLeased: (key: string) => boolean,
    private readonly formats: readonly string[] = [''],
    private readonly removed: (key: string) => void = () => {},
    log: (line: string) => void = () => {},
  ) {
    this.directory = new Directory(path, log)
    this.entries = this.directory.open()
    // The clock has been ahead: nothing was used later than now.
    for (const entry of this.entries.values()) entry.used = Math.min(entry.used, Date.now())
  }

  /** Bytes in the store that are no images', by the latest count; the quota is for all of it. */
  others = 0
  private reserved = 0

  /**
   * Counted with what is there until the answer is called; undefined: quota or floor leave no room for so much, and no
   * image goes for it.
   */
  reserve(bytes: number): (() => void) | undefined {
    const over = this.over(bytes)
    const victims = chooseVictims(this.candidates(), over)
    if (victims.reduce((sum, { size }) => sum + size, 0) < over) return undefined
    for (const { key } of victims) this.remove(key)
    this.reserved += bytes
    return () => {
      this.reserved -= bytes
    }
  }

  records(): (StoreRecord & { used: number })[] {
    return [...this.entries.values()].map(({ record, used }) => ({ ...record, used }))
  }

  byDigest(digest: string): StoreRecord | undefined {
    this.readAgain()
    const named = [...this.entries.values()].filter(
      ({ record }) => record.digest === digest || record.aliases.includes(digest),
    )
    const found = this.formats.flatMap((format) => named.filter(({ record }) => record.key.endsWith(format)))
    return found.map(({ record }) => record).find((record) => this.isThere(record))
  }

  byKey(key: string): StoreRecord | undefined {
    this.readAgain()
    const record = this.entries.get(key)?.record
    return record !== undefined && this.isThere(record) ? record : undefined
  }

  private readAgain(): void {
    for (const [key, entry] of this.directory.readAgain()) this.entries.set(key, entry)
  }

  /** What somebody has removed behind the worker's back is forgotten, to be imported anew. */
  private isThere(record: StoreRecord): boolean {
    if (this.directory.has(record)) return true
    this.remove(record.key)
    return false
  }

  /** @throws the file system's error; a file that was to become an image is removed then. */
  add(record: StoreRecord): void {
    try {
      this.directory.write(record)
    } catch (error) {
      if (!this.entries.has(record.key)) this.directory.remove(record.key)
      throw error
    }
    this.entries.set(record.key, { record, used: Date.now() })
  }

  /** The same image by another way: what is known of it stays, and so does a file of this node's own. */
  admit(record: StoreRecord): StoreRecord {
    const known = this.entries.get(record.key)?.record
    if (known !== undefined && (known.shared !== true || record.shared === true)) return known
    const { places = [], references = [], aliases = [], pinned = false } = known ?? {}
    const union = (one: string[], other: string[]) => [...new Set([...one, ...other])]
    const merged = {
      ...record,
      ...{ pinned, places: union(record.places, places) },
      ...{ references: union(record.references, references), aliases: union(record.aliases, aliases) },
    }
    this.add(merged)
    return merged
  }

  /** Notes a use and what came to light with it; a full disk only costs the note. */
  use(record: StoreRecord, learned: Learned = {}): void {
    const entry = this.entries.get(record.key)
    if (entry !== undefined) entry.used = Date.now()
    const isNew = learn(record, learned) || this.unsaved.has(record.key)
    try {
      if (isNew) this.directory.write(record)
      else this.directory.touch(record.key, Date.now())
      this.unsaved.delete(record.key)
    } catch {
      // The image itself is there and whole; what is known of it is written with a later use.
      if (isNew) this.unsaved.add(record.key)
    }
  }

  /** Not collected until the answer is called. */
  hold(keys: readonly string[]): () => void {
    for (const key of keys) this.held.set(key, (this.held.get(key) ?? 0) + 1)
    return () => {
      for (const key of keys) this.held.set(key, (this.held.get(key) ?? 1) - 1)
    }
  }

  private isHeld(key: string): boolean {
    return (this.held.get(key) ?? 0) > 0
  }

  /** @throws the file system's error */
  note(key: string, facts: { pinned?: boolean; sha256?: string }): void {
    const entry = this.entries.get(key)
    if (entry === undefined) return
    this.directory.write({ ...entry.record, ...facts })
    Object.assign(entry.record, facts)
  }

  remove(key: string): Removed {
    const size = bytesHere(this.entries.get(key)?.record)
    this.entries.delete(key)
    this.unsaved.delete(key)
    this.directory.remove(key)
    this.removed(key)
    return { key, size }
  }

  /** Frees what quota and floor ask for when `wanted` bytes are to come; `atLeast` bytes in any case. */
  collect(wanted: number, atLeast = 0): Removed[] {
    const over = Math.max(atLeast, this.over(wanted))
    return chooseVictims(this.candidates(), over).map(({ key }) => this.remove(key))
  }

  private over(wanted: number): number {
    const others = this.others + this.reserved
    const stored = this.records().reduce((sum, record) => sum + bytesHere(record), others)
    return bytesOver(wanted, stored, this.directory.free(), this.limits)
  }

  private candidates(): Candidate[] {
    const now = Date.now()
    // Neither is what a clock that was set back says of later times.
    const isRecent = (used: number) => Math.abs(now - used) < GRACE_MS
    return this.records().map(({ key, used, pinned, ...record }) => ({
      ...{ key, size: bytesHere(record), used },
      kept: pinned || record.shared === true || isRecent(used) || this.isHeld(key) || this.isLeased(key),
    }))
  }
}

/** What lies in the shared store takes no room here. */
function bytesHere(record: Pick<StoreRecord, 'size' | 'shared'> | undefined): number {
  return record === undefined || record.shared === true ? 0 : record.size
}
