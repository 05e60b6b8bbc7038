// SPDX-License-Identifier: Apache-2.0
/**
 * The commands that users of enroot write into .credentials, split into words and never given to a shell: quotes,
 * backslashes, variables, `~/`, NAME=VALUE before a program, pipes, and `2>/dev/null`, which changes nothing here.
 * Anything else that a shell would act on is refused by name.
 */

export interface Stage {
  argv: string[]
  env: Record<string, string>
}

export type Environment = Readonly<Record<string, string | undefined>>

const NAME = /^\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})/
const ASSIGNMENT = /^([A-Za-z_]\w*)=/
/** Of the words of a pipeline, all that a shell would give a meaning. */
const FORBIDDEN = /^(?:\$\(|[`;&<>()*?[\]{}!#\n])/

interface Word {
  text: string
  /** A quote comes before any `=`, so it is no assignment. */
  quoted: boolean
}

/** The programs of a pipeline, first one first. @throws CommandError */
export function splitCommand(text: string, env: Environment): Stage[] {
  return new Splitter(text, env).stages()
}

/** A command or value that cannot be had, with a clause that says why. */
export class CommandError extends Error {}

class Splitter {
  private at = 0

  constructor(
    private readonly text: string,
    private readonly env: Environment,
  ) {}

  stages(): Stage[] {
    const stages: Word[][] = [[]]
    for (;;) {
      const rest = this.rest().trimStart()
      this.at = this.text.length - rest.length
      if (rest === '') break
      if (rest.startsWith('||')) throw new CommandError('|| is not understood: name one command')
      if (rest.startsWith('|')) {
        stages.push([])
        this.at++
      } else if (/^2>\s*\/dev\/null(?=[\s|]|$)/.test(rest)) {
        this.at += /^2>\s*\/dev\/null/.exec(rest)?.[0].length ?? 0
      } else stages.at(-1)?.push(this.word())
    }
    return stages.map((words) => this.stage(words))
  }

  private stage(words: Word[]): Stage {
    const env: Record<string, string> = {}
    let first = 0
    for (const { text, quoted } of words) {
      const [assigned, name] = ASSIGNMENT.exec(text) ?? []
      if (quoted || assigned === undefined || name === undefined) break
      env[name] = text.slice(assigned.length)
      first++
    }
    const argv = words.slice(first).map(({ text }) => text)
    if ((argv[0] ?? '') === '') throw new CommandError('a command is missing')
    return { argv, env }
  }

  private word(): Word {
    const word: Word = { text: '', quoted: false }
    if (this.rest().startsWith('~/')) {
      word.text = this.env.HOME ?? '~'
      this.at++
    }
    for (;;) {
      const rest = this.rest()
      const char = rest[0] ?? ''
      if (char === '' || char === '|' || /\s/.test(char)) return word
      if (char === "'" || char === '"') {
        word.quoted ||= !word.text.includes('=')
        word.text += char === "'" ? this.single() : this.double()
      } else if (char === '\\') {
        word.text += rest[1] ?? ''
        this.at += 2
      } else if (FORBIDDEN.test(rest)) {
        const [sign = ''] = FORBIDDEN.exec(rest) ?? []
        throw new CommandError(`${sign === '\n' ? 'a line break' : sign} is not understood: no shell runs it`)
      } else word.text += this.variableOr(char)
    }
  }

  private single(): string {
    const end = this.text.indexOf("'", this.at + 1)
    if (end < 0) throw new CommandError("a ' is not closed")
    const text = this.text.slice(this.at + 1, end)
    this.at = end + 1
    return text
  }

  private double(): string {
    let text = ''
    this.at++
    for (;;) {
      const rest = this.rest()
      const char = rest[0] ?? ''
      if (char === '') throw new CommandError('a " is not closed')
      if (char === '"') {
        this.at++
        return text
      }
      if (char === '`' || rest.startsWith('$('))
        throw new CommandError('a command within a command is not understood')
      if (char === '\\' && /^\\["\\$`]/.test(rest)) {
        text += rest[1] ?? ''
        this.at += 2
      } else text += this.variableOr(char)
    }
  }

  /** The value of the variable here, or `char`; moves on. An unset one is empty, as for a shell. */
  private variableOr(char: string): string {
    const [whole, plain, braced] = NAME.exec(this.rest()) ?? []
    this.at += whole?.length ?? char.length
    return whole === undefined ? char : (this.env[plain ?? braced ?? ''] ?? '')
  }

  private rest(): string {
    return this.text.slice(this.at)
  }
}
