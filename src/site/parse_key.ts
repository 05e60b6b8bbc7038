// SPDX-License-Identifier: Apache-2.0
/** One configured value by its row in the table of keys. */
import { isAbsolute, normalize } from 'node:path'
import type { KeyRow } from './key_row.js'
import {
  BOOLEAN_GRAMMAR,
  parseBoolean,
  parseSeconds,
  parseSize,
  parseSpace,
  SECONDS_GRAMMAR,
  SIZE_GRAMMAR,
  SPACE_GRAMMAR,
  type Space,
} from './values.js'

type Value = boolean | number | string | string[] | Space

/** @returns the value, or an Error whose message says what was expected (the caller knows key and place). */
export function parseKey(row: KeyRow, text: string): Value | Error {
  if (typeof row.type !== 'string') {
    return row.type.includes(text) ? text : expected(row.type.join(', '), text)
  }
  switch (row.type) {
    case 'boolean':
      return parseBoolean(text) ?? expected(BOOLEAN_GRAMMAR, text)
    case 'count':
      return bounded(row, /^\d{1,15}$/.test(text) ? Number(text) : undefined, 'a whole number', text)
    case 'seconds':
      return bounded(row, parseSeconds(text), SECONDS_GRAMMAR, text)
    case 'size':
      return bounded(row, parseSize(text), SIZE_GRAMMAR, text)
    case 'space':
      return parseSpace(text) ?? expected(SPACE_GRAMMAR, text)
    case 'path':
      return isAbsolute(text) ? normalize(text) : expected('an absolute path', text)
    case 'name':
      return /^[\w.-]*$/.test(text) ? text : expected('a name', text)
    case 'text':
      return text
    case 'list':
      return checkItems(row, splitList(text))
  }
}

/** Commas separate; a backslash before a comma makes it part of the item. */
export function splitList(text: string): string[] {
  return text
    .split(/(?<!\\),/)
    .map((item) => item.trim().replaceAll('\\,', ','))
    .filter((item) => item !== '')
}

function checkItems({ item }: KeyRow, items: string[]): string[] | Error {
  const bad = items.find((text) => item?.pattern.test(text) === false)
  return item === undefined || bad === undefined ? items : expected(item.grammar, bad)
}

function bounded(row: KeyRow, value: number | undefined, grammar: string, text: string): number | Error {
  if (value === undefined) return expected(grammar, text)
  if (value < (row.min ?? 0)) return expected(`at least ${row.min}`, text)
  if (row.max !== undefined && value > row.max) return expected(`at most ${row.max}`, text)
  if (row.powerOfTwo && !Number.isInteger(Math.log2(value))) return expected('a power of two', text)
  return value
}

function expected(grammar: string, text: string): Error {
  return new Error(`"${text}" should be ${grammar}`)
}
