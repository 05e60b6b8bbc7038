// SPDX-License-Identifier: Apache-2.0
/**
 * Facts about images for hookup, one small file each in facts/. They can be found again at any time: a missing or
 * unreadable file only costs another look at the image.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ImageFacts, takeFacts } from '../image/facts.js'

/** Of images that are mounted as they are: nobody says when such a file is gone. */
const FILES_MAX = 1000
/** In memory, each up to 1 MB for the largest images. */
const HELD_MAX = 32
const FILE_MODE = 0o600

export class FactsFiles {
  private readonly folder: string
  private readonly held = new Map<string, ImageFacts>()

  constructor(store: string) {
    this.folder = join(store, 'facts')
  }

  /** Makes the directory; drops what belongs to no image. @param isThere whether an image of the store has that key */
  open(isThere: (key: string) => boolean, isForeign: (key: string) => boolean): void {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 })
    const foreign: { name: string; used: number }[] = []
    for (const name of readdirSync(this.folder)) {
      const key = name.replace(/\.json$/, '')
      if (isForeign(key)) foreign.push({ name, used: statSync(join(this.folder, name)).mtimeMs })
      else if (!isThere(key)) rmSync(join(this.folder, name), { force: true, recursive: true })
    }
    for (const { name } of foreign.sort((a, b) => b.used - a.used).slice(FILES_MAX))
      rmSync(join(this.folder, name), { force: true })
  }

  get(key: string): ImageFacts | undefined {
    const held = this.held.get(key)
    if (held !== undefined) return held
    try {
      return this.hold(key, takeFacts(readFileSync(this.pathOf(key), 'utf8')))
    } catch {
      return undefined
    }
  }

  /** A full disk only costs the note. */
  set(key: string, facts: ImageFacts): ImageFacts {
    try {
      const temporary = `${this.pathOf(key)}.new`
      writeFileSync(temporary, JSON.stringify(facts), { mode: FILE_MODE })
      renameSync(temporary, this.pathOf(key))
    } catch {
      rmSync(`${this.pathOf(key)}.new`, { force: true })
    }
    return this.hold(key, facts)
  }

  remove(key: string): void {
    this.held.delete(key)
    rmSync(this.pathOf(key), { force: true })
  }

  private hold(key: string, facts: ImageFacts): ImageFacts {
    const [oldest] = this.held.keys()
    if (this.held.size >= HELD_MAX && oldest !== undefined) this.held.delete(oldest)
    this.held.set(key, facts)
    return facts
  }

  private pathOf(key: string): string {
    return join(this.folder, `${key}.json`)
  }
}
