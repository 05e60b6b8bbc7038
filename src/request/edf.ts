// SPDX-License-Identifier: Apache-2.0
/**
 * A rendered environment file (EDF of the CSCS Container Engine): inheritance, variables and relative paths resolved
 * at submit, shipped whole as SLURM_BERTH_EDF, so that every node reads the same words and opens no file for them.
 */
import { BerthError } from '../report/errors.js'
import { joinFields } from './fields.js'
import type { OptionName } from './options.js'
import { hasControl } from './problem.js'

export interface Edf {
  version: 1
  /** As the user asked for it. */
  name: string
  /** The file that was found first. */
  file: string
  /** '' says: no container. */
  image: string
  workdir?: string
  entrypoint?: boolean
  writable?: boolean
  engine?: string
  /** SRC:DST[:FLAGS] after expansion, sources absolute. */
  mounts: string[]
  /** CDI names; device paths have become mounts. */
  devices: string[]
  /** null: taken out of the environment. */
  env: Record<string, string | null>
  /** Dotted names. */
  annotations: Record<string, string>
}

/**
 * One string of an environment may have 128 KiB (MAX_ARG_STRLEN, execve(2)); the longest name it travels under
 * (SLURM_SPANK__SLURM_SPANK_OPTION_berth_edf) and what Slurm adds must fit beside it.
 */
export const EDF_BYTES_MAX = 120 << 10
/** Entries of one table or list: far more than anybody writes by hand. */
const ENTRIES_MAX = 4096
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** True for a rendered environment, false for the name of one. */
export function isRendered(text: string): boolean {
  return text.startsWith('{')
}

/** One line of JSON with sorted keys: equal environments are equal texts. @throws BERTH_EEDF when it is too large */
export function formatEdf(edf: Edf): string {
  const text = JSON.stringify(sortKeys(edf))
  const bytes = Buffer.byteLength(text)
  if (bytes > EDF_BYTES_MAX) {
    throw edfProblem(edf.file, `is larger than ${EDF_BYTES_MAX} bytes after rendering: ${bytes}`)
  }
  return text
}

/** @param text what a job's environment carries: anybody may have written it. @throws BERTH_EEDF */
export function parseEdf(text: string): Edf {
  if (Buffer.byteLength(text) > EDF_BYTES_MAX) {
    throw edfProblem('SLURM_BERTH_EDF', `is larger than ${EDF_BYTES_MAX} bytes`)
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw edfProblem('SLURM_BERTH_EDF', 'is no JSON')
  }
  if (!isTable(json) || json.version !== 1) {
    throw edfProblem('SLURM_BERTH_EDF', 'is no rendered environment of this version of berth')
  }
  return {
    version: 1,
    name: takeText(json, 'name'),
    file: takeText(json, 'file'),
    image: takeText(json, 'image'),
    ...(json.workdir === undefined ? {} : { workdir: takeText(json, 'workdir') }),
    ...(json.engine === undefined ? {} : { engine: takeText(json, 'engine') }),
    ...takeFlag(json, 'entrypoint'),
    ...takeFlag(json, 'writable'),
    mounts: takeTexts(json, 'mounts'),
    devices: takeTexts(json, 'devices'),
    env: takeVariables(json),
    annotations: takeAnnotations(json),
  }
}

/** What it says in the words of options, to stand between flags and variables; absent keys say nothing. */
export function edfValues(edf: Edf): Map<OptionName, string> {
  const values = new Map<OptionName, string>()
  const put = (name: OptionName, value: string | undefined): void => {
    if (value !== undefined && value !== '') values.set(name, value)
  }
  put('container-image', edf.image)
  put('container-workdir', edf.workdir)
  put('container-engine', edf.engine)
  put('container-entrypoint', flagText(edf.entrypoint))
  put('container-writable', flagText(edf.writable))
  // Expanded already: what the file's text holds must not be read as a variable once more.
  put('container-mounts', joinFields(edf.mounts.map((mount) => mount.split(':'))))
  put('container-device', edf.devices.join(','))
  put('container-entrypoint-log', edf.annotations['com.pyxis.entrypoint_log'])
  return values
}

/** @param place "FILE", "FILE:LINE" or the variable that held it. */
export function edfProblem(place: string, problem: string): BerthError {
  return new BerthError('BERTH_EEDF', { place, problem })
}

type Table = Record<string, unknown>

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function broken(key: string): BerthError {
  return edfProblem('SLURM_BERTH_EDF', `has an impossible value of "${key}"`)
}

function takeText(json: Table, key: string): string {
  const value = json[key]
  if (typeof value !== 'string' || hasControl(value)) throw broken(key)
  return value
}

function takeFlag(json: Table, key: 'entrypoint' | 'writable'): { [K in typeof key]?: boolean } {
  const value = json[key]
  if (value === undefined) return {}
  if (typeof value !== 'boolean') throw broken(key)
  return { [key]: value }
}

function takeTexts(json: Table, key: string): string[] {
  const value = json[key]
  if (!Array.isArray(value) || value.length > ENTRIES_MAX) throw broken(key)
  return value.map((item) => {
    if (typeof item !== 'string' || hasControl(item)) throw broken(key)
    return item
  })
}

function takeVariables(json: Table): Edf['env'] {
  if (!isTable(json.env)) throw broken('env')
  const entries = Object.entries(json.env)
  if (entries.length > ENTRIES_MAX) throw broken('env')
  return Object.fromEntries(
    entries.map(([name, value]): [string, string | null] => {
      const valid = value === null || (typeof value === 'string' && !value.includes('\0'))
      if (!VARIABLE_NAME.test(name) || !valid) throw broken('env')
      return [name, value]
    }),
  )
}

function takeAnnotations(json: Table): Edf['annotations'] {
  if (!isTable(json.annotations)) throw broken('annotations')
  const entries = Object.entries(json.annotations)
  if (entries.length > ENTRIES_MAX) throw broken('annotations')
  return Object.fromEntries(
    entries.map(([name, value]): [string, string] => {
      if (typeof value !== 'string') throw broken('annotations')
      return [name, value]
    }),
  )
}

function flagText(value: boolean | undefined): string | undefined {
  return value === undefined ? undefined : value ? '1' : '0'
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (!isTable(value)) return value
  const sorted = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1))
  return Object.fromEntries(sorted.map(([key, item]) => [key, sortKeys(item)]))
}
