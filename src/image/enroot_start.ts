// SPDX-License-Identifier: Apache-2.0
/**
 * enroot's /etc/rc, read and not run: the directory, entrypoint and command of the image, as `enroot import` writes them.
 * A user may have written anything there, and what is not of that form is only known to be something else.
 */

interface EnrootStart {
  workdir: string
  entrypoint: string[]
  cmd: string[]
  /** There is a script, and it says something else than these. */
  foreign: boolean
}

const DIRECTORY = /^cd "(\/[^"$`\\\0\n]*)"/m
/** The last lines: with a command of the user's, and without one. */
const COMMANDS = /^if \[ \$# -gt 0 \]; then\n\s+exec ([^\n]*)"\$@"\nelse\n\s+exec ([^\n]*)\nfi\s*$/m
/** What bash's ${word@Q} makes of a word: 'plain', with \' for each ', or $'with escapes'. */
const PIECE = /'([^'\0]*)'|(\\')|\$'((?:[^'\\\0]|\\[abtnvfrE'\\]|\\[0-3][0-7]{2})+)'/y
const ESCAPE = /\\([0-3][0-7]{2}|.)/g
const ESCAPED: Readonly<Record<string, string>> = {
  ...{ a: '\x07', b: '\b', t: '\t', n: '\n', v: '\v', f: '\f', r: '\r', E: '\x1b' },
}
/** As config.ts bounds a list. */
const WORDS_MAX = 4096

export function readEnrootStart(script: string): EnrootStart {
  const workdir = DIRECTORY.exec(script)?.[1] ?? ''
  const [, given, alone] = COMMANDS.exec(script) ?? []
  const entrypoint = given === undefined ? undefined : readWords(given)
  const whole = alone === undefined ? undefined : readWords(alone)
  const isPrefix = entrypoint?.every((word, at) => whole?.[at] === word)
  if (entrypoint === undefined || whole === undefined || isPrefix !== true)
    return { workdir, entrypoint: [], cmd: [], foreign: script.trim() !== '' }
  return { workdir, entrypoint, cmd: whole.slice(entrypoint.length), foreign: false }
}

/** Undefined: something else than such words with a space after each, or at the end. */
function readWords(text: string): string[] | undefined {
  const words: string[] = []
  let at = 0
  while (at < text.length && words.length < WORDS_MAX) {
    let word = ''
    const start = at
    for (;;) {
      PIECE.lastIndex = at
      const piece = PIECE.exec(text)
      if (piece === null) break
      at = PIECE.lastIndex
      word += piece[2] === undefined ? (piece[1] ?? withoutEscapes(piece[3] ?? '')) : "'"
    }
    if (at === start || word.includes('\0') || (at < text.length && text[at] !== ' ')) return undefined
    words.push(word)
    while (text[at] === ' ') at++
  }
  return at < text.length ? undefined : words
}

/** Octal numbers are bytes of UTF-8, which bash writes where its locale has no letter for them. */
function withoutEscapes(text: string): string {
  const bytes = Buffer.from(text, 'utf8').toString('latin1')
  const plain = bytes.replace(ESCAPE, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (ESCAPED[code] ?? code),
  )
  return Buffer.from(plain, 'latin1').toString('utf8')
}
