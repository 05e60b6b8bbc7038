// SPDX-License-Identifier: Apache-2.0
/** enroot's .credentials: a netrc file whose values may hold $NAME, ${NAME} and $(command), which end no word. */

interface NetrcEntry {
  /** '' for `default`. */
  machine: string
  /** As written: what is to be expanded is still in it. */
  login: string
  password: string
}

/** What means something on the user's own side only (login.ts). NGC's `$oauthtoken` is a name and no variable. */
export const NEEDS_EXPANSION = /\$(?!oauthtoken\b)[({A-Za-z_]/

/** Deeper ones are no command that anybody wrote. */
const WORD_CHARS_MAX = 64 << 10

/** In their order; words that netrc does not know are left out. */
function readNetrc(text: string): NetrcEntry[] {
  const words = netrcWords(text)
  const entries: NetrcEntry[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at]
    const last = entries.at(-1)
    if (word === 'machine') entries.push({ machine: words[++at] ?? '', login: '', password: '' })
    else if (word === 'default') entries.push({ machine: '', login: '', password: '' })
    else if (word === 'login' && last !== undefined) last.login = words[++at] ?? ''
    else if (word === 'password' && last !== undefined) last.password = words[++at] ?? ''
  }
  return entries
}

/** The entries for any of the hosts, best first; enroot looks a host up without its port too. */
export function entriesFor(text: string, hosts: readonly string[]): NetrcEntry[] {
  const names = [...hosts, ...hosts.map((host) => host.replace(/:\d+$/, ''))]
  const entries = readNetrc(text)
  return [...new Set(names)].flatMap((name) =>
    entries.filter(({ machine, password }) => machine.toLowerCase() === name && password !== ''),
  )
}

/** Where the command that starts at `at` with `$(` ends: behind its `)`; undefined when it does not. */
export function endOfCommand(text: string, at: number): number | undefined {
  let quote = ''
  for (let end = at + 2; end < text.length && end - at < WORD_CHARS_MAX; end++) {
    const char = text[end] ?? ''
    if (char === '\\' && quote !== "'") end++
    else if (quote !== '') quote = char === quote ? '' : quote
    else if (char === '"' || char === "'") quote = char
    else if (char === ')') return end + 1
  }
  return undefined
}

function netrcWords(text: string): string[] {
  const words: string[] = []
  for (const line of text.split('\n')) {
    if (/^\s*#/.test(line)) continue
    for (let at = 0; at < line.length; ) {
      const rest = line.slice(at)
      const quoted = /^"((?:[^"\\]|\\.)*)"|^'([^']*)'/.exec(rest)
      if (/^\s/.test(rest)) at++
      else if (quoted !== null) {
        words.push(quoted[1]?.replace(/\\(.)/g, '$1') ?? quoted[2] ?? '')
        at += quoted[0].length
      } else {
        const end = endOfWord(line, at)
        words.push(line.slice(at, end))
        at = end
      }
    }
  }
  return words
}

function endOfWord(line: string, start: number): number {
  let at = start
  while (at < line.length && !/\s/.test(line[at] ?? '')) {
    const end = line.startsWith('$(', at) ? endOfCommand(line, at) : undefined
    at = end ?? at + 1
  }
  return at
}
