// SPDX-License-Identifier: Apache-2.0
/**
 * What a SIF says about how it wants to be started: variables, labels and the runscript of /.singularity.d. The scripts
 * in there are programs; here only their plain assignments are read (docs/decisions/0026-sif.md).
 */
import type { ImageConfig } from './image.js'
import { isObject } from './manifest.js'

const ROOT = '.singularity.d'
const RUNSCRIPT = `${ROOT}/runscript`
const LABELS = `${ROOT}/labels.json`
/** In the order in which the real ones are sourced; the others are the engines' own. */
const SCRIPTS = [
  `${ROOT}/env/10-docker2singularity.sh`,
  `${ROOT}/env/10-docker.sh`,
  `${ROOT}/env/90-environment.sh`,
]
export const SIF_FILES: readonly string[] = [...SCRIPTS, RUNSCRIPT, LABELS]

/** For those who want the scripts run: what `apptainer exec` does before the command. */
const ENTRYPOINT = [
  '/bin/sh',
  '-c',
  `for script in /${ROOT}/env/*.sh; do [ -f "$script" ] && . "$script"; done; exec "$@"`,
  'sh',
]
/** Of an engine's container before any script; a script adds to it. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** takeConfig's limit. */
const LABEL_CHARS_MAX = 16 << 10

type Captured = Readonly<Record<string, Buffer>>

export function sifConfig(captured: Captured, architecture: string): ImageConfig {
  const text = (name: string) => captured[name]?.toString('utf8') ?? ''
  const known = new Map([['PATH', PATH]])
  const exported = new Set<string>()
  for (const name of SCRIPTS) readAssignments(text(name), known, exported)
  const isStarted = SIF_FILES.some((name) => name !== LABELS && captured[name] !== undefined)
  return {
    env: [...exported].map((name) => `${name}=${known.get(name) ?? ''}`),
    entrypoint: isStarted ? ENTRYPOINT : [],
    cmd: captured[RUNSCRIPT] === undefined ? [] : [`/${RUNSCRIPT}`],
    ...{ workdir: '', user: '', architecture },
    labels: readLabels(text(LABELS)),
  }
}

function readLabels(text: string): Record<string, string> {
  try {
    const labels: unknown = JSON.parse(text)
    if (!isObject(labels)) return {}
    return Object.fromEntries(
      Object.entries(labels).filter(
        (entry): entry is [string, string] =>
          typeof entry[1] === 'string' && entry[1].length <= LABEL_CHARS_MAX && !entry[1].includes('\0'),
      ),
    )
  } catch {
    return {}
  }
}

/** Lines that open and close what may not be run at all. */
const OPENS = /^(if|for|while|until|case)\b|^\{|\{$/
const CLOSES = /^(fi|done|esac)\b|^\}/

/**
 * Assignments that stand by themselves, in the order of the script; other lines are passed by, also all between `if` and
 * `fi` and the like. `exported` gets the names that the script exports.
 */
export function readAssignments(script: string, known: Map<string, string>, exported: Set<string>): void {
  let depth = 0
  for (const raw of script.replace(/\0/g, '').split('\n')) {
    const line = raw.trim()
    const opens = OPENS.test(line) && !/(;|\s)(fi|done|esac|\})$/.test(line)
    if (CLOSES.test(line)) depth = Math.max(0, depth - 1)
    else if (opens) depth++
    else if (depth === 0) readLine(line, known, exported)
  }
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*/

/** `[export] NAME=WORD … [; export NAME …]`; what is not wholly of that kind changes nothing. */
function readLine(line: string, known: Map<string, string>, exported: Set<string>): void {
  const values = new Map<string, string>()
  const names: string[] = []
  const word = new Word(line, (name) => values.get(name) ?? known.get(name))
  let exports = word.skip(/^export\s+/)
  while (!word.atEnd()) {
    const name = word.take(NAME)
    if (name === '') return
    if (word.skip(/^=/)) {
      const value = word.value()
      if (value === undefined) return
      values.set(name, value)
    } else if (!exports) return
    if (exports) names.push(name)
    if (word.skip(/^\s*;\s*/)) exports = word.skip(/^export\s+/)
    else if (!word.skip(/^\s+/) && !word.atEnd()) return
  }
  for (const [name, value] of values) known.set(name, value)
  for (const name of names) if (known.has(name)) exported.add(name)
}

/** Nesting of ${A:-${B:-…}} that anybody writes by hand. */
const DEPTH_MAX = 8

/** Words as a shell reads them (POSIX.1-2017, shell 2.2 and 2.6.2), as far as they need no shell. */
class Word {
  private at = 0

  constructor(
    private readonly text: string,
    private readonly lookup: (name: string) => string | undefined,
  ) {}

  atEnd(): boolean {
    return this.at >= this.text.length || /^\s*(#.*)?$/.test(this.text.slice(this.at))
  }

  take(pattern: RegExp): string {
    const found = pattern.exec(this.text.slice(this.at))?.[0] ?? ''
    this.at += found.length
    return found
  }

  skip(pattern: RegExp): boolean {
    return this.take(pattern) !== ''
  }

  /** Undefined: it takes a shell. */
  value(): string | undefined {
    const value = this.until((char) => /[\s;]/.test(char), 0)
    // An empty entry of a list of directories would be the working directory.
    return value !== undefined && this.hadEmpty ? value.replace(/^:+|:+$/g, '') : value
  }

  private hadEmpty = false
  /** Within words that no shell would look at. */
  private idle = false

  private until(isEnd: (char: string) => boolean, depth: number): string | undefined {
    let value = ''
    while (this.at < this.text.length && !isEnd(this.text[this.at] ?? '')) {
      const part = this.part(depth)
      if (part === undefined) return undefined
      value += part
    }
    return value
  }

  private part(depth: number): string | undefined {
    const char = this.text[this.at++] ?? ''
    if (char === "'") return this.quoted(this.text.indexOf("'", this.at))
    if (char === '"') return this.doubleQuoted(depth)
    if (char === '\\') return this.text[this.at++]
    if (char === '$') return this.expansion(depth)
    return /[`|&<>()]/.test(char) ? undefined : char
  }

  private quoted(end: number): string | undefined {
    if (end < 0) return undefined
    const value = this.text.slice(this.at, end)
    this.at = end + 1
    return value
  }

  private doubleQuoted(depth: number): string | undefined {
    let value = ''
    for (;;) {
      const char = this.text[this.at++]
      if (char === undefined || char === '`') return undefined
      if (char === '"') return value
      const next = this.text[this.at] ?? ''
      let part: string | undefined = char
      if (char === '$') part = this.expansion(depth)
      else if (char === '\\' && /["\\$`]/.test(next)) part = this.text[this.at++]
      if (part === undefined) return undefined
      value += part
    }
  }

  /** Behind the `$`. */
  private expansion(depth: number): string | undefined {
    if (depth > DEPTH_MAX) return undefined
    if (!this.skip(/^\{/)) return this.known(this.take(NAME))
    const name = this.take(NAME)
    if (this.skip(/^\}/)) return this.known(name)
    const operator = this.take(/^:?[-+]/)
    if (name === '' || operator === '') return undefined
    const own = this.lookup(name)
    const isSet = operator.startsWith(':') ? (own ?? '') !== '' : own !== undefined
    const wasIdle = this.idle
    this.idle ||= isSet !== operator.endsWith('+')
    const other = this.until((char) => char === '}', depth + 1)
    this.idle = wasIdle
    if (other === undefined || !this.skip(/^\}/)) return undefined
    if (operator.endsWith('+')) return isSet ? other : this.empty()
    return isSet ? own : other
  }

  /** Lists of directories begin empty in a container; what else the image does not set is the task's. */
  private known(name: string): string | undefined {
    const value = this.lookup(name)
    if (value !== undefined || this.idle) return value ?? ''
    return /PATH$/.test(name) ? this.empty() : undefined
  }

  private empty(): string {
    this.hadEmpty = true
    return ''
  }
}
