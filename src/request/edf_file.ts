// SPDX-License-Identifier: Apache-2.0
/** One environment file as it stands: TOML read, every key known and of its type, nothing expanded yet. */
import { parse, TomlError } from 'smol-toml'
import { edfProblem } from './edf.js'
import { findLine } from './edf_lines.js'

export interface EdfFile {
  path: string
  text: string
  base: string[]
  image?: string
  workdir?: string
  engine?: string
  entrypoint?: boolean
  writable?: boolean
  mounts: string[]
  devices: string[]
  /** '' in the file means unset and is null here. */
  env: Record<string, string | null>
  annotations: Record<string, string>
  /** Keys of the Container Engine that mean nothing here. */
  idle: string[]
}

type Table = Record<string, unknown>

const KEYS = [
  'base_environment',
  'image',
  'workdir',
  'entrypoint',
  'writable',
  'engine',
  'mounts',
  'devices',
  'env',
  'annotations',
] as const
/** Settings of the engine below skybox (sarus-suite/raster), which is berth here. */
const IDLE_KEYS: readonly string[] = [
  'parallax_enable',
  'parallax_imagestore',
  'parallax_mount_program',
  'parallax_path',
  'perfmon',
  'podman_module',
  'podman_path',
  'podman_tmp_path',
]
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** @throws BERTH_EEDF with file and line */
export function readEdfText(path: string, text: string): EdfFile {
  const reader = new Reader(path, text, parseToml(path, text))
  const base = reader.table.base_environment
  return {
    path,
    text,
    base: typeof base === 'string' ? [base] : reader.texts('base_environment'),
    ...reader.text('image'),
    ...reader.text('workdir'),
    ...reader.text('engine'),
    ...reader.flag('entrypoint'),
    ...reader.flag('writable'),
    mounts: reader.texts('mounts'),
    devices: reader.texts('devices'),
    env: reader.env(),
    annotations: reader.annotations(),
    idle: reader.checkKeys(),
  }
}

/** "FILE:LINE" of a key. */
export function placeOf(file: Pick<EdfFile, 'path' | 'text'>, keys: readonly string[]): string {
  return `${file.path}:${findLine(file.text, keys)}`
}

function parseToml(path: string, text: string): Table {
  try {
    return parse(text) as Table
  } catch (error) {
    if (!(error instanceof TomlError)) throw edfProblem(path, 'cannot be read as TOML')
    const [first = ''] = error.message.split('\n')
    throw edfProblem(`${path}:${error.line}`, first.replace(/^Invalid TOML document: /, 'no TOML: '))
  }
}

class Reader {
  constructor(
    private readonly path: string,
    private readonly source: string,
    readonly table: Table,
  ) {}

  checkKeys(): string[] {
    const names = Object.keys(this.table)
    const known: readonly string[] = KEYS
    const unknown = names.find((name) => !known.includes(name) && !IDLE_KEYS.includes(name))
    if (unknown !== undefined)
      throw this.problem([unknown], `unknown key "${unknown}" (known: ${KEYS.join(', ')})`)
    return names.filter((name) => IDLE_KEYS.includes(name))
  }

  text<K extends string>(key: K): { [P in K]?: string } {
    const value = this.table[key]
    if (value === undefined) return {}
    if (typeof value !== 'string') throw this.problem([key], `"${key}" must be a string`)
    return { [key]: value } as { [P in K]?: string }
  }

  flag<K extends string>(key: K): { [P in K]?: boolean } {
    const value = this.table[key]
    if (value === undefined) return {}
    if (typeof value !== 'boolean') throw this.problem([key], `"${key}" must be true or false`)
    return { [key]: value } as { [P in K]?: boolean }
  }

  texts(key: string): string[] {
    const value = this.table[key]
    if (value === undefined) return []
    if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
      throw this.problem([key], `"${key}" must be a list of strings`)
    }
    return value as string[]
  }

  env(): EdfFile['env'] {
    const entries = Object.entries(this.section('env')).map(([name, value]): [string, string | null] => {
      if (!VARIABLE_NAME.test(name)) throw this.problem(['env', name], `"${name}" cannot name a variable`)
      if (typeof value !== 'string') throw this.problem(['env', name], `"env.${name}" must be a string`)
      return [name, value === '' ? null : value]
    })
    return Object.fromEntries(entries)
  }

  annotations(): EdfFile['annotations'] {
    const flat: Record<string, string> = {}
    const visit = (table: Table, trail: readonly string[]): void => {
      for (const [name, value] of Object.entries(table)) {
        const path = [...trail, name]
        if (isTable(value)) visit(value, path)
        else if (['string', 'boolean', 'number'].includes(typeof value)) flat[path.join('.')] = String(value)
        else throw this.problem(['annotations', ...path], `"annotations.${path.join('.')}" must be a string`)
      }
    }
    visit(this.section('annotations'), [])
    return flat
  }

  private section(key: string): Table {
    const value = this.table[key] ?? {}
    if (!isTable(value)) throw this.problem([key], `"${key}" must be a table: [${key}]`)
    return value
  }

  private problem(keys: readonly string[], problem: string): Error {
    return edfProblem(placeOf({ path: this.path, text: this.source }, keys), problem)
  }
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}
