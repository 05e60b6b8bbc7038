// SPDX-License-Identifier: Apache-2.0
/** The grammar of single values, shared by berth.conf, plugstack arguments and flags: yes/no, sizes, durations. */

const YES: readonly string[] = ['1', 'true', 'yes', 'y']
const NO: readonly string[] = ['0', 'false', 'no', 'n']

export const BOOLEAN_GRAMMAR = '1, true, yes, y, 0, false, no or n'
export const SIZE_GRAMMAR = 'bytes, or a number with K, M, G or T'
export const SPACE_GRAMMAR = 'bytes, a number with K, M, G or T, or a percentage'
export const SECONDS_GRAMMAR = 'seconds, or a number with s, m, h or d'

/** Part of a file system or of memory: an absolute number of bytes, or a share of the whole. */
export type Space = { bytes: number } | { percent: number }

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }
const SECONDS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86400 }

/** Lower case and exact, as pyxis reads its arguments and variables; undefined: neither yes nor no. */
export function parseBoolean(text: string): boolean | undefined {
  if (YES.includes(text)) return true
  if (NO.includes(text)) return false
  return undefined
}

/** Bytes; units are powers of 1024. undefined: no size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)([KMGT]?)(?:i?B)?$/i.exec(text)
  const unit = UNITS[match?.[2]?.toUpperCase() ?? '']
  if (match?.[1] === undefined || unit === undefined) return undefined
  const bytes = Math.floor(Number(match[1]) * unit)
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** A size or a percentage from 0 to 100. undefined: neither. */
export function parseSpace(text: string): Space | undefined {
  const match = /^(\d{1,3})%$/.exec(text)
  if (match === null) {
    const bytes = parseSize(text)
    return bytes === undefined ? undefined : { bytes }
  }
  const percent = Number(match[1])
  return percent <= 100 ? { percent } : undefined
}

/** Seconds. undefined: no duration. */
export function parseSeconds(text: string): number | undefined {
  const match = /^(\d{1,9})([smhd]?)$/.exec(text)
  const unit = SECONDS[match?.[2] ?? '']
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit
}
