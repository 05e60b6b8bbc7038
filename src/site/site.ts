// SPDX-License-Identifier: Apache-2.0
/**
 * What the site decided: built-in defaults, then berth.conf, then conf.d/*.conf in order of name, then the plugstack
 * line (the worker's command line); each value knows where it was written.
 */
import { dirname, join } from 'node:path'
import { BerthError } from '../report/errors.js'
import { nearest } from '../report/nearest.js'
import { type ConfigLine, type Findings, readConfig, readDropIns } from './config_file.js'
import type { KeyRow } from './key_row.js'
import { isKey, KEYS, type Key, keyRow, PYXIS_KEYS } from './keys.js'
import { parseKey } from './parse_key.js'
import { type ProfileSet, readProfiles } from './profile_set.js'
import type { Space } from './values.js'

/** The TypeScript type of a key, by the row of the table. */
type ValueOf<K extends Key> = (typeof KEYS)[K]['type'] extends infer T
  ? T extends 'boolean'
    ? boolean
    : T extends 'count' | 'seconds' | 'size'
      ? number
      : T extends 'space'
        ? Space
        : T extends 'list'
          ? string[]
          : T extends readonly (infer Word)[]
            ? Word
            : string
  : never

export interface Site {
  /** count: a number; seconds; size: bytes; space: bytes or percent; list: strings; words: one of them. */
  get<K extends Key>(key: K): ValueOf<K>
  /** "/etc/berth/berth.conf:12", "plugstack argument" or "default". */
  origin(key: Key): string
  /** What somebody should correct, though steps run: unknown keys and files that others can write, each with its place. */
  readonly warnings: readonly string[]
  /** What is as it should be and has no effect: pyxis' arguments without a meaning here. */
  readonly notes: readonly string[]
  /** Values that could not be read, BERTH_ESITE; their keys keep the value below. No step may start while there are any. */
  readonly errors: readonly BerthError[]
  readonly profiles: ProfileSet
  /** Of known keys, with pyxis' names as ours, in the order in which they were read; the last of a key counts. */
  readonly lines: readonly ConfigLine[]
}

const PLUGSTACK = 'plugstack argument'

/**
 * @param settings key=value of the plugstack line; `config` among them says which file to read
 * Never throws: what is wrong is in `errors` and `warnings`, so that a worker can start and say so to users.
 */
export function loadSite(settings: Readonly<Record<string, string>>): Site {
  const config = settings.config ?? KEYS.config.default
  const site = new Collected()
  const named = settings.config !== undefined
  for (const line of readConfig(config, named, site)) site.take(line)
  for (const line of readDropIns(join(dirname(config), 'conf.d'), site)) site.take(line)
  for (const [key, value] of Object.entries(settings)) site.take({ key, value, place: PLUGSTACK })
  site.refuseUnread()
  site.profiles = readProfiles(site.sections, site.get('podman_hpc_modules'))
  return site
}

class Collected implements Site, Findings {
  readonly warnings: string[] = []
  readonly notes: string[] = []
  readonly unread: Findings['unread'] = []
  readonly errors: BerthError[] = []
  readonly sections: ConfigLine[] = []
  readonly lines: ConfigLine[] = []
  profiles: ProfileSet = {
    ...{ byName: new Map(), problems: [], annotations: new Set(), variables: new Set() },
  }
  private readonly values = new Map<Key, unknown>()
  private readonly origins = new Map<Key, string>()

  constructor() {
    for (const key of Object.keys(KEYS) as Key[])
      this.values.set(key, parseKey(keyRow(key), keyRow(key).default))
  }

  get<K extends Key>(key: K): ValueOf<K> {
    // parseKey made the value by the same row that ValueOf reads.
    return this.values.get(key) as ValueOf<K>
  }

  origin(key: Key): string {
    return this.origins.get(key) ?? 'default'
  }

  take(line: ConfigLine): void {
    const { key: written, value, place } = line
    if (line.profile !== undefined) {
      this.sections.push(line)
      return
    }
    const pyxis = PYXIS_KEYS[written]
    const key = pyxis?.as ?? written
    if (pyxis !== undefined && pyxis.as === undefined) {
      this.notes.push(`${place}: ${written} ${pyxis.note}`)
    } else if (!isKey(key)) {
      const meant = nearest(written, Object.keys(KEYS))
      this.warnings.push(
        `${place}: unknown key ${written}${meant === undefined ? '' : `: did you mean ${meant}?`}`,
      )
    } else if (keyRow(key).lineOnly === true && place !== PLUGSTACK) {
      this.warnings.push(
        `${place}: ${written} has no effect in a file: it belongs on berth's line in plugstack.conf`,
      )
    } else {
      this.lines.push({ key, value, place })
      this.set(key, keyRow(key), value, place)
    }
  }

  /** What a file forbids must not be allowed because nobody could read it. */
  refuseUnread(): void {
    for (const { file, problem } of this.unread)
      this.errors.push(new BerthError('BERTH_ESITE', { place: file, key: 'configuration', problem }))
  }

  private set(key: Key, row: KeyRow, text: string, place: string): void {
    const value = parseKey(row, text)
    if (value instanceof Error) {
      this.errors.push(new BerthError('BERTH_ESITE', { place, key, problem: value.message }))
      return
    }
    this.values.set(key, value)
    this.origins.set(key, place)
  }
}
