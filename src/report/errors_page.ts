// SPDX-License-Identifier: Apache-2.0
/** docs/errors.md from the table of errors. */
import { ERRORS, type ErrorRow } from './errors.js'

const HEAD = `# Errors

Generated from the tables of src/report/errors.ts; do not edit. A failure is printed by the first node of the step as

\`\`\`
berth: error[CODE]: what failed
hint: what to do next
\`\`\`

Another node that fails prints the first line only, with \` (on NODE)\` at its end.

The launcher exits with the code that is given here. Once the program runs, the exit code is the program's own (128+n for
signal n). Words in braces stand for values.
`

export function errorsPage(): string {
  const rows: [string, ErrorRow][] = Object.entries(ERRORS)
  const sorted = rows.sort(([left], [right]) => (left < right ? -1 : 1))
  return [HEAD, ...sorted.map(([code, row]) => section(code, row))].join('\n')
}

function section(code: string, { text, hint, exit }: ErrorRow): string {
  return `## ${code}\n\n\`${text}\`\n\nNext step: ${hint}.\nExit code: ${exit}.\n`
}
