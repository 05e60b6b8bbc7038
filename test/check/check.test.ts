// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process'
import { resolve } from 'node:path'
import { suite } from '../suite.js'

const test = suite('check')

test('formatter, linter, types and tidy are content', () => {
  const root = resolve(import.meta.dirname, '../..')
  const seen = spawnSync('npm', ['run', '--silent', 'check'], { cwd: root, encoding: 'utf8' })
  if (seen.status !== 0) throw new Error(`npm run check: exit ${seen.status}\n${seen.stdout}${seen.stderr}`)
})

test.run()
