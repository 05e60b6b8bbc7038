// SPDX-License-Identifier: Apache-2.0
/** Patterns of the site on the host's file system: * ? and [...] within one name, as sh has them. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** A pattern that matches more was not meant so. */
const MATCHES_MAX = 1024
const WILD = /[*?[]/
const NOTHING = /^(?!)/

/** Absolute paths in order; a path without wildcards is itself where it exists. */
export function expandGlob(
  pattern: string,
  list: (directory: string) => readonly string[] = listNames,
): string[] {
  let found = ['/']
  const names = pattern.split('/').filter((name) => name !== '')
  for (const name of names) {
    if (!WILD.test(name)) found = found.map((directory) => join(directory, name))
    else {
      const wanted = toRegExp(name)
      found = found
        .flatMap((directory) =>
          list(directory)
            .filter((entry) => wanted.test(entry) && (name.startsWith('.') || !entry.startsWith('.')))
            .sort()
            .map((entry) => join(directory, entry)),
        )
        .slice(0, MATCHES_MAX)
    }
  }
  return found.filter((path) => existsSync(path))
}

export function listNames(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/** A set that is none, as [z-a], matches nothing. */
function toRegExp(name: string): RegExp {
  const text = name.replace(/\[(!?)([^\]/]+)\]|\*+|\?|[^\w]/g, (part: string, not?: string, set?: string) => {
    if (part.startsWith('*')) return '.*'
    if (part === '?') return '.'
    if (set !== undefined) return `[${not === '!' ? '^' : ''}${set.replace(/[\\^[\]]/g, '\\$&')}]`
    return `\\${part}`
  })
  try {
    return new RegExp(`^${text}$`, 's')
  } catch {
    return NOTHING
  }
}
