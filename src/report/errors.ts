// SPDX-License-Identifier: Apache-2.0
/** All failures that users can meet, from three tables by where they happen; docs/errors.md is made of it. */
import type { ErrorRow } from './error_row.js'
import { IMAGE_ERRORS } from './image_errors.js'
import { SITE_ERRORS } from './site_errors.js'
import { STEP_ERRORS } from './step_errors.js'

export type { ErrorRow } from './error_row.js'

export const ERRORS = Object.freeze({
  ...IMAGE_ERRORS,
  ...SITE_ERRORS,
  ...STEP_ERRORS,
}) satisfies Record<string, ErrorRow>

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

/** Of what was thrown, whatever it is. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Of a file system's error, as ENOENT; the whole where it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}

function fill(template: string, fields: ErrorFields): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) => String(fields[name] ?? whole))
}

/** The lines a user reads: fact, then next step. `place` names node and step where that helps. */
export function renderError(error: BerthError, place?: string): string {
  const where = place === undefined ? '' : `\n  on ${place}`
  return `berth: error[${error.code}]: ${error.message}${where}\nhint: ${error.hint}\n`
}
