// SPDX-License-Identifier: Apache-2.0
/**
 * The store on disk: images/KEY.sqsh and images/KEY.json, tmp/ for what is not finished. Crash-only: a file gets its
 * name when it is complete, the json comes last and goes first, so a squashfs without json is a leftover.
 */
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import { codeOf, messageOf } from '../report/errors.js'
import { isTrusted } from '../site/trusted_file.js'
import { writeDurably } from './durable.js'
import { parseRecord, type StoreRecord } from './record.js'

const KEY = /^[a-z0-9]+-[a-z0-9-]{1,200}$/

export interface Entry {
  record: StoreRecord
  /** Last use, milliseconds since the epoch; the json's mtime. */
  used: number
}

export class Directory {
  readonly images: string
  readonly temporary: string
  /** Images whose record the disk did not give, and what it said. */
  private readonly unread = new Map<string, string>()

  constructor(
    readonly path: string,
    private readonly log: (line: string) => void = () => {},
  ) {
    this.images = join(path, 'images')
    this.temporary = join(path, 'tmp')
  }

  /** Also while the worker runs: somebody may have removed all of it to make room. @throws the file system's error */
  make(): void {
    for (const folder of [this.path, this.images, this.temporary])
      mkdirSync(folder, { recursive: true, mode: 0o700 })
  }

  /** Drops leftovers of a crash, reads what is there. @throws Error when somebody else could put images there */
  open(): Map<string, Entry> {
    this.make()
    for (const folder of [this.path, this.images, this.temporary])
      if (!isTrusted(statSync(folder)))
        throw new Error(`others than root can change ${folder}: chown root ${folder}; chmod go-w ${folder}`)
    chmodSync(this.images, 0o700)
    chmodSync(this.temporary, 0o700)
    for (const name of readdirSync(this.temporary))
      rmSync(join(this.temporary, name), { recursive: true, force: true })
    const names = new Set(readdirSync(this.images))
    const entries = new Map<string, Entry>()
    for (const name of names) {
      const [, key, kind] = /^(.*)\.(sqsh|json)$/.exec(name) ?? []
      if (key === undefined || !KEY.test(key)) continue
      if (kind === 'json') {
        const entry = this.read(key)
        if (entry !== undefined) entries.set(key, entry)
      } else if (!names.has(`${key}.json`)) {
        rmSync(join(this.images, name), { force: true })
      }
    }
    for (const [key, problem] of this.unread) this.log(`image ${key} is not used: ${problem}`)
    return entries
  }

  /** What the disk did not give before and gives now. */
  readAgain(): [string, Entry][] {
    const keys = [...this.unread.keys()]
    return keys.flatMap((key): [string, Entry][] => {
      const entry = this.read(key)
      return entry === undefined ? [] : [[key, entry]]
    })
  }

  /** What cannot be looked at is not gone. */
  has({ path, shared }: StoreRecord): boolean {
    if (shared === true) return true
    try {
      return statSync(path, { throwIfNoEntry: false }) !== undefined
    } catch {
      return true
    }
  }

  imagePath(key: string): string {
    return join(this.images, `${key}.sqsh`)
  }

  /** @throws the file system's error (ENOSPC among them). */
  write(record: StoreRecord): void {
    const { key, path, ...own } = record
    const kept = record.shared === true ? { ...own, path } : own
    const temporary = join(this.temporary, `${key}.json`)
    try {
      writeDurably(temporary, JSON.stringify(kept))
      renameSync(temporary, this.jsonPath(key))
      this.unread.delete(key)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw error
    }
  }

  remove(key: string): void {
    this.unread.delete(key)
    rmSync(this.jsonPath(key), { force: true })
    rmSync(this.imagePath(key), { force: true })
  }

  /** The time of use outlives the worker. */
  touch(key: string, now: number): void {
    utimesSync(this.jsonPath(key), now / 1000, now / 1000)
  }

  free(): number {
    const { bavail, bsize } = statfsSync(this.path)
    return bavail * bsize
  }

  private read(key: string): Entry | undefined {
    try {
      const path = this.imagePath(key)
      const record = parseRecord(readFileSync(this.jsonPath(key), 'utf8'), key, path)
      if (record.shared !== true && statSync(path).size !== record.size) throw new Error('size')
      const used = statSync(this.jsonPath(key)).mtimeMs
      this.unread.delete(key)
      return { record, used }
    } catch (error) {
      if (isOfDisk(error)) this.unread.set(key, messageOf(error))
      else this.remove(key)
      return undefined
    }
  }

  private jsonPath(key: string): string {
    return join(this.images, `${key}.json`)
  }
}

/** It says nothing against the image, which may be the base of somebody's container. */
function isOfDisk(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && codeOf(error) !== 'ENOENT'
}
