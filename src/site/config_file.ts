// SPDX-License-Identifier: Apache-2.0
/**
 * berth.conf: KEY = VALUE in the ini grammar, read line by line so that every value keeps its place. KEY[] = VALUE
 * adds to a list. A section [profile NAME] lasts until the next section or the end of its file; others have no meaning
 * and are skipped with a warning.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'ini'

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
const PROFILE = /^\s*\[\s*profile\s+"?([^\s"\]]+)"?\s*\]\s*([;#].*)?$/

/** @param required warn when the file is not there: it was named, and not just the default. Never throws. */
export function readConfig(file: string, required: boolean, warnings: string[]): ConfigLine[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable'
    if (required || code !== 'ENOENT') warnings.push(`${file}: cannot be read: ${code}`)
    return []
  }
  if (text.length > CONFIG_BYTES_MAX) {
    warnings.push(`${file}: larger than ${CONFIG_BYTES_MAX} bytes, not read`)
    return []
  }
  return readLines(file, text, warnings)
}

/** Only *.conf, so that an editor's backup never counts. */
export function readDropIns(directory: string, warnings: string[]): ConfigLine[] {
  let names: string[]
  try {
    names = readdirSync(directory)
  } catch {
    return []
  }
  const files = names.filter((name) => name.endsWith('.conf') && !name.startsWith('.')).sort()
  return files.flatMap((name) => readConfig(join(directory, name), true, warnings))
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
