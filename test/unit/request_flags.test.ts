// SPDX-License-Identifier: Apache-2.0
/** The shim's table of flags and the grammar's table of options are two views of one list. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { OPTIONS, type OptionName, optionRow } from '../../src/request/options.js'
import { suite } from '../suite.js'

const test = suite('flags of the shim and options of the grammar')
const source = readFileSync(join(import.meta.dirname, '../../slurm/flags.c'), 'utf8')
const rows = source
  .split(/\.name = "/)
  .slice(1)
  .map((row) => ({ name: row.slice(0, row.indexOf('"')), text: row.slice(0, row.indexOf('}')) }))
const names = Object.keys(OPTIONS) as OptionName[]

test('the same names, with their opposites', () => {
  const opposites = names.flatMap((name) => optionRow(name).opposite ?? [])
  assert.deepEqual(rows.map(({ name }) => name).sort(), [...new Set([...names, ...opposites])].sort())
})

test('the same kinds: what adds up, what is yes or no, what pyxis has', () => {
  for (const name of names) {
    const text = rows.find((row) => row.name === name)?.text ?? ''
    const kind = text.includes('FLAG_LIST') ? 'list' : text.includes('FLAG_BOOL') ? 'flag' : 'single'
    assert.equal(kind, optionRow(name).kind, name)
    assert.equal(text.includes('.pyxis = true'), optionRow(name).pyxis, name)
  }
})

test.run()
