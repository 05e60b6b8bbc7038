// SPDX-License-Identifier: Apache-2.0
/**
 * berth.conf: KEY = VALUE in the ini grammar, read line by line so that every value keeps its place. KEY[] = VALUE
 * adds to a list. A section [profile NAME] lasts until the next section or the end of its file; others have no meaning
 * and are skipped with a warning.
 */
import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'ini'
import { codeOf } from '../report/errors.js'
import { readRegular } from './trusted_file.js'

export interface ConfigLine {
  key: string
  value: string
  /** "/etc/berth/berth.conf:12" */
  place: string
  /** Of which it is; its first line has an empty key. */
  profile?: string
}

/** A configuration is some KB; a larger file is a mistake and would only cost memory. */
const CONFIG_BYTES_MAX = 1 << 20
/** Some editors begin a file with it. */
const BYTE_ORDER_MARK = /^\uFEFF/
const PROFILE = /^\s*\[\s*profile\s+"?([^\s"\]]+)"?\s*\]\s*([;#].*)?$/

/** What is wrong besides single values. */
export interface Findings {
  warnings: string[]
  notes: string[]
  /** Files that say something which nobody could read. */
  unread: { file: string; problem: string }[]
}

/** @param required it was named, and is not just the default. Never throws. */
export function readConfig(file: string, required: boolean, findings: Findings): ConfigLine[] {
  const text = readText(file, required, findings)
  if (text instanceof Error) {
    findings.unread.push({ file, problem: text.message })
    return []
  }
  return readLines(file, text, findings.warnings)
}

/** Only *.conf, so that an editor's backup never counts. */
export function readDropIns(directory: string, findings: Findings): ConfigLine[] {
  let names: string[]
  try {
    names = readdirSync(directory)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT')
      findings.unread.push({ file: directory, problem: `cannot be read: ${codeOf(error)}` })
    return []
  }
  const files = names.filter((name) => name.endsWith('.conf') && !name.startsWith('.')).sort()
  return files.flatMap((name) => readConfig(join(directory, name), true, findings))
}

/** '' also where only the node may read it: a login node's `berth check` decides nothing. */
function readText(file: string, required: boolean, { warnings, notes }: Findings): string | Error {
  const read = readRegular(file, CONFIG_BYTES_MAX, false)
  if (!(read instanceof Error)) {
    if (!read.trusted)
      warnings.push(`${file}: others than root can write it, and decide what the worker does as root`)
    return read.bytes.toString('utf8').replace(BYTE_ORDER_MARK, '')
  }
  const code = codeOf(read.cause)
  if (code === 'ENOENT' && !required && lstatSync(file, { throwIfNoEntry: false }) === undefined) return ''
  if (code === 'EACCES' && process.geteuid?.() !== 0) {
    notes.push(`${file}: only for root to read`)
    return ''
  }
  return read
}

export function readLines(file: string, text: string, warnings: string[]): ConfigLine[] {
  const lines: ConfigLine[] = []
  let section: { profile?: string } = {}
  let lists = new Map<string, string[]>()
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const place = `${file}:${index + 1}`
    if (/^\s*\[/.test(line)) {
      const profile = PROFILE.exec(line)?.[1]
      section = profile === undefined ? {} : { profile }
      lists = new Map()
      if (profile !== undefined) lines.push({ key: '', value: '', place, profile })
      else warnings.push(`${place}: sections have no meaning here: ${line.trim()}`)
      continue
    }
    for (const [key, value] of Object.entries(parse(line))) {
      const items = Array.isArray(value) ? [...(lists.get(key) ?? []), ...value.map(String)] : [String(value)]
      lists.set(key, items)
      lines.push({ key, value: items.join(','), place, ...section })
    }
  }
  return lines
}
