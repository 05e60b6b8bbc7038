// SPDX-License-Identifier: Apache-2.0
/** Generated pages are as their tables say; UPDATE_DOCS=1 writes them anew. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ENGINES } from '../../src/engine/engines.js'
import { enginePage, GENERATED_END } from '../../src/engine/page.js'
import { errorsPage } from '../../src/report/errors_page.js'
import { configPage } from '../../src/site/config_page.js'
import { suite } from '../suite.js'

const test = suite('generated pages')
const docs = join(import.meta.dirname, '../../docs')

for (const [name, page] of [
  ['errors.md', errorsPage],
  ['config.md', configPage],
] as const) {
  test(`docs/${name} is up to date (UPDATE_DOCS=1 writes it)`, () => {
    const file = join(docs, name)
    if (process.env.UPDATE_DOCS === '1') writeFileSync(file, page())
    assert.equal(readFileSync(file, 'utf8'), page())
  })
}

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

test.run()
