// SPDX-License-Identifier: Apache-2.0
/** Generated pages are as their tables say; UPDATE_DOCS=1 writes them anew. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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

test.run()
