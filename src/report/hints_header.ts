// SPDX-License-Identifier: Apache-2.0
/** slurm/hints.h from the table of errors: plugin and launcher give the same next steps as the worker. */
import { ERRORS, type ErrorRow } from './errors.js'

const NAME = /\bHINT_(E[A-Z]+)\b/g

const HEAD = `/* SPDX-License-Identifier: Apache-2.0
 *
 * Generated from the tables of src/report/errors.ts; do not edit. Hints without fields that C uses.
 */
#ifndef BERTH_HINTS_H
#define BERTH_HINTS_H

/* clang-format off */
`

/** The hints that the C sources ask for by HINT_ and their code without BERTH_. @throws Error when one cannot be had */
export function hintsHeader(sources: readonly string[]): string {
  const names = new Set(sources.flatMap((text) => [...text.matchAll(NAME)].map(([, name = '']) => name)))
  return [HEAD, ...[...names].sort().map(define), '/* clang-format on */\n\n#endif\n'].join('')
}

function define(name: string): string {
  const rows: Readonly<Record<string, ErrorRow>> = ERRORS
  const hint = rows[`BERTH_${name}`]?.hint
  if (hint === undefined || hint.includes('{'))
    throw new Error(`HINT_${name}: no row with a hint of words only`)
  return `#define HINT_${name} ${JSON.stringify(hint)}\n`
}
