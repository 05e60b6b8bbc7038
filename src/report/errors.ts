// SPDX-License-Identifier: Apache-2.0
/**
 * Every failure a user or operator can meet, in one table: docs/errors.md is generated from it, a tidy test holds
 * that each is documented and tested. `text` and `hint` may name {fields}; they are lower case and end without a period.
 */
export interface ErrorRow {
  /** One sentence: what failed on which object. */
  text: string
  /** One sentence: what to do next. */
  hint: string
  /** Exit code of the launcher; the CLI exits 1 for what a user can mend, 2 otherwise. */
  exit: number
}

const FAILED = 125

export const ERRORS = {
  BERTH_EOPTION: {
    text: '--{option}: {problem}',
    hint: 'see `srun --help` ([berth]) or `berth check --help` for the grammar',
    exit: FAILED,
  },
  BERTH_EINTERNAL: {
    text: 'internal error: {problem}',
    hint: "report it with the worker's log",
    exit: FAILED,
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

export type ErrorFields = Readonly<Record<string, string | number>>

/** The one error class that carries a code to a user; `cause` keeps what happened below. */
export class BerthError extends Error {
  readonly hint: string
  readonly exit: number

  constructor(
    readonly code: ErrorCode,
    readonly fields: ErrorFields = {},
    options?: ErrorOptions,
  ) {
    const row = ERRORS[code]
    super(fill(row.text, fields), options)
    this.hint = fill(row.hint, fields)
    this.exit = row.exit
  }
}

function fill(template: string, fields: ErrorFields): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => String(fields[name] ?? whole))
}

/** The lines a user reads: fact, then next step. `place` names node and step where that helps. */
export function renderError(error: BerthError, place?: string): string {
  const where = place === undefined ? '' : `\n  on ${place}`
  return `berth: error[${error.code}]: ${error.message}${where}\nhint: ${error.hint}\n`
}
