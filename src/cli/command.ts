// SPDX-License-Identifier: Apache-2.0
/** What a command of `berth` is, and the exit codes they share. */
import type { Arguments } from './arguments.js'

export const Exit = {
  OK: 0,
  /** The user can mend it: a wrong flag, no such image. */
  USER: 1,
  /** berth's own fault. */
  INTERNAL: 2,
  /** A check of `berth doctor` or `berth check` failed. */
  CHECK: 3,
} as const

export interface OptionSpec {
  type: 'string' | 'boolean'
  /** Shown after the name in --help: --mounts=SRC:DST */
  value?: string
  help: string
}

export interface Command {
  /** One line for `berth --help`. */
  summary: string
  /** Words after the name: 'IMAGE [-- COMMAND...]'. */
  usage: string
  /** Full sentences: what it does and what it leaves behind. */
  about: string
  examples: readonly (readonly [command: string, what: string])[]
  options: Readonly<Record<string, OptionSpec>>
  /** Understands the container options of srun as well, with and without "container-". */
  container?: boolean
  /** How many words it takes, those after `--` with them; without a limit where absent. */
  wordsMax?: number
  /** Ends as a program of the user's would: what berth cannot do is 125, as in a step. */
  runsProgram?: boolean
  run(input: CommandInput): Promise<number>
}

export interface CommandInput {
  args: Arguments
  places: Places
  json: boolean
}

/** Where this instance of berth lives; the same three words as in plugstack.conf, the last two where somebody says them. */
export interface Places {
  runtimeDir: string
  store?: string
  config?: string
}
