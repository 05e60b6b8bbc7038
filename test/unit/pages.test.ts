// SPDX-License-Identifier: Apache-2.0
/** Generated pages are as their tables say; UPDATE_DOCS=1 writes them anew. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { COMMANDS } from '../../src/cli/main.js'
import { ENGINES } from '../../src/engine/engines.js'
import { enginePage, GENERATED_END } from '../../src/engine/page.js'
import { ERRORS } from '../../src/report/errors.js'
import { errorsPage } from '../../src/report/errors_page.js'
import { hintsHeader } from '../../src/report/hints_header.js'
import { type FlagRow, manPage } from '../../src/report/man_page.js'
import { configPage } from '../../src/site/config_page.js'
import { suite } from '../suite.js'

const test = suite('generated pages')
const docs = join(import.meta.dirname, '../../docs')

/** Of the comparison. */
const CRITERIA = 26
/** What follows is prose: answers of others. */
const OWN_ANSWERS = '## What the engines answer themselves'
/** Of pyxis' own tests, how many behaviours each of their parts holds; the order is docs/pyxis-behaviours.md's. */
const BEHAVIOURS = [8, 15, 17, 4, 15, 5, 4, 4, 10, 7, 4, 8, 4, 1, 2, 6]

const flags = (): FlagRow[] =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../../dist/flags.json'), 'utf8'))

for (const [name, page] of [
  ['errors.md', errorsPage],
  ['config.md', configPage],
  ['man/berth.7', () => manPage(flags())],
] as const) {
  test(`docs/${name} is up to date (UPDATE_DOCS=1 writes it)`, () => {
    const file = join(docs, name)
    if (process.env.UPDATE_DOCS === '1') writeFileSync(file, page())
    assert.equal(readFileSync(file, 'utf8'), page())
  })
}

test('slurm/hints.h is up to date (UPDATE_DOCS=1 writes it), and nothing else of slurm/ repeats a hint', () => {
  const folder = join(import.meta.dirname, '../../slurm')
  const header = join(folder, 'hints.h')
  const sources = readdirSync(folder)
    .filter((name) => /\.[ch]$/.test(name) && name !== 'hints.h')
    .map((name) => readFileSync(join(folder, name), 'utf8'))
  if (process.env.UPDATE_DOCS === '1') writeFileSync(header, hintsHeader(sources))
  assert.equal(readFileSync(header, 'utf8'), hintsHeader(sources))
  const whole = sources.map((text) => text.replaceAll(/"\s*\\?\s*"/g, '')).join('\n')
  for (const [code, { hint }] of Object.entries(ERRORS))
    assert.ok(!whole.includes(JSON.stringify(hint)), `${code}: HINT_${code.replace('BERTH_', '')}`)
})

for (const engine of ENGINES) {
  test(`docs/engines/${engine.name}.md is up to date (UPDATE_DOCS=1 writes it)`, () => {
    const file = join(docs, 'engines', `${engine.name}.md`)
    const generated = enginePage(engine)
    if (process.env.UPDATE_DOCS === '1') {
      const prose = existsSync(file) ? (readFileSync(file, 'utf8').split(GENERATED_END)[1] ?? '') : ''
      writeFileSync(file, generated + prose)
    }
    assert.ok(readFileSync(file, 'utf8').startsWith(generated))
  })
}

test('each flag and variable stands in the man page, which is plain man(7)', () => {
  const page = manPage(flags())
  const plain = page.replaceAll('\\-', '-')
  for (const { name, variable, pyxis } of flags()) {
    assert.match(plain, new RegExp(`^\\.B --${name}(=?\\\\fI|$)`, 'm'))
    for (const word of [variable, pyxis]) if (word !== null) assert.ok(plain.includes(word), word)
  }
  for (const line of page.split('\n').filter((text) => /^[.']/.test(text)))
    assert.match(line, /^\.(\\" |(TH|SH|SS|TP|PP|B|I|BR)\b)/)
})

test('words of the table cannot become requests or escapes', () => {
  const row = { kind: 'single', opposite: null, needs: null, variable: null, pyxis: null } as const
  const page = manPage([{ ...row, name: 'a', argument: 'A\\B', help: ".so it's" }])
  assert.ok(page.includes('=\\fIA\\eB\\fP\n\\&.so it\\(aqs\n'))
})

test('tests that the pages name are there', () => {
  for (const page of readdirSync(docs).filter((name) => name.endsWith('.md'))) {
    const named = readFileSync(join(docs, page), 'utf8').match(/\btest\/[\w/]+\.test\.ts\b/g) ?? []
    for (const file of named) assert.ok(existsSync(join(docs, '..', file)), `${page}: ${file}`)
    namesTests(readFileSync(join(docs, page), 'utf8'))
  }
})

test('the comparison has every criterion and engine, and its tests have the names that it gives', () => {
  const page = readFileSync(join(docs, 'engines/comparison.md'), 'utf8')
  const rows = (page.split(OWN_ANSWERS)[0] ?? '').split('\n').filter((line) => /^\| \d/.test(line))
  assert.deepEqual(
    rows.map((row) => Number(row.split('|')[1])),
    Array.from({ length: CRITERIA }, (_, index) => index + 1),
  )
  const listed = (rows[3] ?? '').split('|')[3]?.trim().split(', ')
  assert.deepEqual(
    listed,
    ENGINES.map(({ name }) => name),
  )
  for (const row of rows) assert.match(row.split('|')[4] ?? '', /`(test|package)[^`]*`|^ prose: /, row)
  namesTests(page)
})

/** Each “promise”, of which several may follow their file, stands in it. */
function namesTests(page: string): void {
  for (const [, file = '', promises = ''] of page.matchAll(
    /`(test\/[\w/.]+\.ts)`: (“[^”]+”(?:, “[^”]+”)*)/g,
  )) {
    const text = readFileSync(join(docs, '..', file), 'utf8')
    for (const promise of promises.slice(1, -1).split('”, “'))
      assert.ok(text.includes(promise), `${file}: ${promise}`)
  }
}

test('every behaviour of pyxis has a test of the name given, or the reason why it has none', () => {
  const page = readFileSync(join(docs, 'pyxis-behaviours.md'), 'utf8')
  const rows = page.split('\n').filter((line) => /^\| /.test(line) && !/^\| \| behaviour/.test(line))
  const numbers = rows.map((row) => row.split('|')[1]?.trim() ?? '').filter((number) => /^\d/.test(number))
  const wanted = BEHAVIOURS.flatMap((count, part) =>
    Array.from({ length: count }, (_, row) => `${part}.${row + 1}`),
  )
  assert.deepEqual(numbers, wanted)
  for (const row of rows) assert.match(row, /\| (`test\/[\w/.]+\.ts`: “[^|]*|prose: [^|]*) \|$/)
})

test("the operators' table of commands has each command, and says which are for root", async () => {
  const page = readFileSync(join(docs, 'operators.md'), 'utf8')
  const table = page.slice(page.indexOf('\n## Commands\n'))
  const rows = table.split('\n').filter((line) => line.startsWith('| `berth '))
  for (const [name, load] of Object.entries(COMMANDS)) {
    const row = rows.find((line) => line.includes(`\`berth ${name}`))
    assert.ok(row, name)
    if ((await load()).summary.endsWith('(root)')) assert.match(row, /\| root \|/)
  }
})

const noGroff = spawnSync('groff', ['--version']).error === undefined ? '' : 'no groff'
test.needs(noGroff, 'groff renders the man page without a warning', () => {
  const { stdout, stderr } = spawnSync('groff', ['-man', '-ww', '-Tutf8', join(docs, 'man/berth.7')], {
    encoding: 'utf8',
  })
  assert.equal(stderr, '')
  assert.match(stdout, /container-image/)
})

test.run()
