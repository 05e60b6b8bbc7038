// SPDX-License-Identifier: Apache-2.0
/** Assertions on outcomes; a failure shows all that the command said. */
import type { Outcome } from './command.js'

/** Enough for any error with its context; help texts and dumps are cut in the middle. */
const SHOWN_MAX = 3000

function fail(problem: string, outcome: Outcome): never {
  const { output } = outcome
  const half = SHOWN_MAX / 2
  const shown = output.length <= SHOWN_MAX ? output : `${output.slice(0, half)}\n[…]\n${output.slice(-half)}`
  throw new Error(`${problem}\nexit ${outcome.code ?? outcome.signal}; it said:\n${shown}`)
}

export function exits(outcome: Outcome, code: number): Outcome {
  if (outcome.code !== code) fail(`exit code is not ${code}`, outcome)
  return outcome
}

/** Ended on its own with anything but 0. */
export function fails(outcome: Outcome): Outcome {
  if (outcome.code === 0 || outcome.code === null) fail('did not fail with an exit code', outcome)
  return outcome
}

/** berth said no: a coded error, and an exit code that is not 0. */
export function refuses(outcome: Outcome, pattern: RegExp): Outcome {
  return says(says(fails(outcome), /error\[BERTH_E\w+\]/), pattern)
}

/** The refusal is one line and its hint; beside them are only Slurm's own. */
export function refusesInTwoLines(outcome: Outcome, pattern: RegExp): Outcome {
  refuses(outcome, pattern)
  const ours = outcome.output.split('\n').filter((line) => line !== '' && !line.startsWith('srun: '))
  const [error = '', hint = '', ...more] = ours
  if (!pattern.test(error) || !hint.startsWith('hint: ') || more.length > 0)
    fail('is not refused in two lines', outcome)
  return outcome
}

export function says(outcome: Outcome, pattern: RegExp): Outcome {
  if (!pattern.test(outcome.output)) fail(`does not say ${pattern}`, outcome)
  return outcome
}

export function saysNot(outcome: Outcome, pattern: RegExp): Outcome {
  if (pattern.test(outcome.output)) fail(`says ${pattern}`, outcome)
  return outcome
}

/** stdout is exactly these lines, whatever their order. */
export function prints(outcome: Outcome, lines: readonly string[]): Outcome {
  exits(outcome, 0)
  const seen = outcome.stdout.split('\n').filter((line) => line !== '')
  if (seen.sort().join('\n') !== [...lines].sort().join('\n'))
    fail(`stdout is not ${JSON.stringify(lines)}`, outcome)
  return outcome
}

/** Non-empty lines of stdout of a command that ended well. */
export function lines(outcome: Outcome): string[] {
  exits(outcome, 0)
  return outcome.stdout.split('\n').filter((line) => line !== '')
}

/** How many lines of the merged output match. */
export function countLines(outcome: Outcome, pattern: RegExp): number {
  return outcome.output.split('\n').filter((line) => pattern.test(line)).length
}
