// SPDX-License-Identifier: Apache-2.0
/**
 * JSON and YAML files of the site, read strictly: each field is asked for by name and kind, and one that nobody asked
 * for is refused with its place. Only files that none but root can write are read at all, see trusted_file.ts.
 */

import { createRequire } from 'node:module'
import { messageOf } from '../report/errors.js'

/** The message names the field: "devices[0].name: should be text". */
export class DocumentProblem extends Error {}

type Fields = Record<string, unknown>

/** A list of devices or mounts is generated; beyond this the generator went wrong. */
const ITEMS_MAX = 10_000
const YAML_ALIASES_MAX = 100
const PROBLEM_LENGTH_MAX = 200

/** Loaded at the first YAML file: most nodes have none, and the worker starts without it. */
const load = createRequire(import.meta.url)

/** @param file decides by its name: .json is JSON, everything else YAML. @throws DocumentProblem */
export function parseDocument(file: string, text: string): Part {
  return new Part(readText(file, text), '')
}

function readText(file: string, text: string): unknown {
  try {
    if (file.endsWith('.json')) return JSON.parse(text)
    const { parse } = load('yaml') as typeof import('yaml')
    return parse(text, { maxAliasCount: YAML_ALIASES_MAX, logLevel: 'error' })
  } catch (error) {
    const said = messageOf(error)
    const line = said.split('\n', 1)[0] ?? ''
    throw new DocumentProblem(line.slice(0, PROBLEM_LENGTH_MAX))
  }
}

/** One object of a document, and the fields of it that were asked for so far. */
export class Part {
  private readonly fields: Fields
  private readonly seen = new Set<string>()

  constructor(
    value: unknown,
    private readonly at: string,
  ) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new DocumentProblem(`${at === '' ? 'the file' : at}: should be an object`)
    this.fields = value as Fields
  }

  place(key: string): string {
    return this.at === '' ? key : `${this.at}.${key}`
  }

  has(key: string): boolean {
    return Object.hasOwn(this.fields, key)
  }

  text(key: string): string {
    const value = this.optionalText(key)
    if (value === undefined) throw this.problem(key, 'is missing')
    return value
  }

  optionalText(key: string): string | undefined {
    return this.take(key, 'text', (value) => (typeof value === 'string' ? value : undefined))
  }

  count(key: string): number | undefined {
    return this.take(key, 'a whole number', (value) =>
      typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined,
    )
  }

  flag(key: string): boolean | undefined {
    return this.take(key, 'true or false', (value) => (typeof value === 'boolean' ? value : undefined))
  }

  texts(key: string): string[] {
    return this.list(key).map((value, index) => {
      if (typeof value !== 'string') throw this.problem(`${key}[${index}]`, 'should be text')
      return value
    })
  }

  counts(key: string): number[] {
    return this.list(key).map((value, index) => {
      if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
      throw this.problem(`${key}[${index}]`, 'should be a whole number')
    })
  }

  parts(key: string): Part[] {
    return this.list(key).map((value, index) => new Part(value, this.place(`${key}[${index}]`)))
  }

  part(key: string): Part | undefined {
    this.seen.add(key)
    const value = this.own(key)
    return value === undefined ? undefined : new Part(value, this.place(key))
  }

  /** NAME: text pairs. */
  map(key: string): Record<string, string> {
    const part = this.part(key)
    if (part === undefined) return {}
    return Object.fromEntries(Object.keys(part.fields).map((name) => [name, part.text(name)]))
  }

  problem(key: string, what: string): DocumentProblem {
    return new DocumentProblem(`${this.place(key)}: ${what}`)
  }

  /** @throws DocumentProblem for a field that nobody asked for */
  finish(): void {
    const unknown = Object.keys(this.fields).find((key) => !this.seen.has(key))
    if (unknown !== undefined) throw this.problem(unknown.slice(0, PROBLEM_LENGTH_MAX), 'unknown field')
  }

  private own(key: string): unknown {
    const value = Object.hasOwn(this.fields, key) ? this.fields[key] : undefined
    return value === null ? undefined : value
  }

  private take<T>(key: string, kind: string, read: (value: unknown) => T | undefined): T | undefined {
    this.seen.add(key)
    const value = this.own(key)
    if (value === undefined) return undefined
    const taken = read(value)
    if (taken === undefined) throw this.problem(key, `should be ${kind}`)
    return taken
  }

  private list(key: string): unknown[] {
    this.seen.add(key)
    const value = this.own(key)
    if (value === undefined) return []
    if (!Array.isArray(value)) throw this.problem(key, 'should be a list')
    if (value.length > ITEMS_MAX) throw this.problem(key, `has more than ${ITEMS_MAX} entries`)
    return value
  }
}
