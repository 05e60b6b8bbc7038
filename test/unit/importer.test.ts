// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { UsageError } from '../../src/cli/arguments.js'
import { importer, stepOf } from '../../src/cli/importer.js'
import { suite } from '../suite.js'

const test = suite('berth importer')

test("the step is told by Slurm's variables, old and new names", () => {
  assert.deepEqual(stepOf({ SLURM_JOB_ID: '7', SLURM_STEP_ID: '0' }), ['7', '0'])
  assert.deepEqual(stepOf({ SLURM_JOBID: '7', SLURM_STEPID: '2' }), ['7', '2'])
  assert.deepEqual(stepOf({ SLURM_JOB_ID: '7' }), ['7', 'batch'])
  assert.deepEqual(stepOf({}), ['', 'batch'])
})

test('only get IMAGE_URI and release are understood', async () => {
  const places = { runtimeDir: '/nowhere', store: '/nowhere', config: '/nowhere' }
  for (const words of [[], ['get'], ['get', 'a', 'b'], ['release', 'a'], ['put', 'a']]) {
    const args = { values: {}, all: {}, flags: new Set<string>(), words, rest: [], container: [] }
    await assert.rejects(importer.run({ args, places, json: false }), (error: unknown) => {
      assert.ok(error instanceof UsageError)
      assert.equal(error.message, 'say get IMAGE_URI or release')
      return true
    })
  }
})

const root = process.getuid?.() === 0 ? 'root would start a worker' : undefined

test.needs(root, 'where no worker runs, get fails with a next step and release does not', async () => {
  const places = { runtimeDir: '/nonexistent/berth', store: '/nowhere', config: '/nowhere' }
  const args = (words: string[]) => ({
    ...{ values: {}, all: {}, flags: new Set<string>(), rest: [], container: [] },
    words,
  })
  await assert.rejects(importer.run({ args: args(['get', 'docker://a']), places, json: false }), {
    code: 'BERTH_ENOWORKER',
  })
  assert.equal(await importer.run({ args: args(['release']), places, json: false }), 0)
})

test.run()
