// SPDX-License-Identifier: Apache-2.0
/** docs/config.md from the table of keys. */
import type { KeyRow } from './key_row.js'
import { KEYS, PYXIS_KEYS } from './keys.js'
import { BOOLEAN_GRAMMAR, SECONDS_GRAMMAR, SIZE_GRAMMAR, SPACE_GRAMMAR } from './values.js'

const HEAD = `# Settings

Generated from src/site/keys.ts; do not edit. A setting is a line \`KEY = VALUE\`. berth reads these places in order; a
later one overrides an earlier one:

1. \`/etc/berth/berth.conf\`, or the file named by \`config=\`
2. \`conf.d/*.conf\` beside it, in order of name
3. \`KEY=VALUE\` on berth's line in plugstack.conf

\`KEY[] = VALUE\` adds to a list. A \`;\` or \`#\` starts a comment. An unknown key is a warning with its file and line, and
fails \`berth check\`. A value that cannot be read fails steps with BERTH_ESITE until it is corrected.

| key | value | default | meaning |
|---|---|---|---|
`

const TYPES: Readonly<Record<string, string>> = {
  path: 'absolute path',
  name: 'name',
  boolean: BOOLEAN_GRAMMAR,
  count: 'whole number',
  seconds: SECONDS_GRAMMAR,
  size: SIZE_GRAMMAR,
  space: SPACE_GRAMMAR,
  list: 'words separated by commas',
  text: 'text',
}

export function configPage(): string {
  const rows: [string, KeyRow][] = Object.entries(KEYS)
  const pyxis = Object.entries(PYXIS_KEYS).map(([key, { note }]) => `- \`${key}\` ${note}`)
  const table = rows.map(([key, row]) => tableRow(key, row)).join('\n')
  return `${HEAD}${table}\n\n## Arguments of pyxis\n\nAccepted on the plugstack line:\n\n${pyxis.join('\n')}\n`
}

function tableRow(key: string, row: KeyRow): string {
  const type = typeof row.type === 'string' ? TYPES[row.type] : row.type.join(' \\| ')
  const initial = row.default === '' ? '' : `\`${row.default}\``
  return `| \`${key}\` | ${type} | ${initial} | ${row.help} |`
}
