// SPDX-License-Identifier: Apache-2.0
/** What decides whether a container is saved, and the config that a saved image carries. */
import assert from 'node:assert/strict'
import { readSavedConfig, savedConfig } from '../../src/image/saved.js'
import { explainSave } from '../../src/launch/save_failure.js'
import { BerthError } from '../../src/report/errors.js'
import type { Connection } from '../../src/worker/connection.js'
import { Saving } from '../../src/worker/saving.js'
import { suite } from '../suite.js'

const test = suite('save')

/** A launcher that can go away. */
function launcher(): { connection: Connection; leave: () => void } {
  const closers: (() => void)[] = []
  const connection = { onClosed: (closer: () => void) => closers.push(closer) } as unknown as Connection
  const leave = () => {
    for (const closer of closers) closer()
  }
  return { connection, leave }
}

test('the last task saves, whatever the exit codes', async () => {
  const saving = new Saving(2)
  const [one, two] = [launcher(), launcher()]
  saving.join(one.connection, 1)
  saving.join(two.connection, 2)
  assert.equal(await saving.end(two.connection, 7 << 8), undefined)
  two.leave()
  assert.equal(await saving.end(one.connection, 0), '')
})

test('a canceled task, or one that went without a word, keeps all from being saved', async () => {
  const canceled = new Saving(1)
  const one = launcher()
  canceled.join(one.connection, 1)
  assert.equal(await canceled.end(one.connection, 15), 'a task was ended by SIGTERM')
  const gone = new Saving(2)
  const [two, three] = [launcher(), launcher()]
  gone.join(two.connection, 2)
  gone.join(three.connection, 3)
  two.leave()
  assert.equal(await gone.end(three.connection, 0), 'a task did not start, or was killed')
})

test('a task that ends before it asks for its container keeps all from being saved, and the other one tells', async () => {
  const early = new Saving(2)
  const [one, two] = [launcher(), launcher()]
  early.expect(1)
  early.expect(2)
  early.join(one.connection, 1)
  early.lose(2)
  early.lose(1)
  assert.equal(await early.end(one.connection, 0), 'a task did not start, or was killed')
  const late = new Saving(2)
  late.expect(1)
  late.expect(2)
  late.join(two.connection, 1)
  const answer = late.end(two.connection, 0)
  late.lose(2)
  assert.equal(await answer, 'a task did not start, or was killed')
  assert.equal(late.isForgotten, false)
})

test('one that was never announced leaves the save to be told of by whoever releases the step', async () => {
  const saving = new Saving(2)
  const one = launcher()
  saving.join(one.connection, 1)
  assert.equal(await saving.end(one.connection, 0), undefined)
  assert.equal(saving.isForgotten, true)
})

test('a crash of the program is no cancellation', async () => {
  const saving = new Saving(1)
  const one = launcher()
  saving.join(one.connection, 1)
  assert.equal(await saving.end(one.connection, 11), '')
})

test('the config comes back as it was; anything else is no config', () => {
  const config = {
    env: ['A=1', 'B=two words'],
    entrypoint: ['/run'],
    cmd: ['x'],
    workdir: '/w',
    user: 'u',
    labels: { l: 'v' },
    architecture: 'amd64',
  }
  assert.deepEqual(readSavedConfig(Buffer.from(savedConfig(config))), config)
  for (const text of ['', '{', '[]', '{"rootfs":{"diff_ids":["x"]}}', '{"config":{"Env":[1]}}'])
    assert.equal(readSavedConfig(Buffer.from(text)), undefined)
  assert.equal(readSavedConfig(undefined), undefined)
})

test('failures have one code and say what users search for', () => {
  const error = explainSave('/x', Object.assign(new Error('write'), { code: 'ENOSPC' }))
  assert.ok(error instanceof BerthError)
  assert.equal(error.code, 'BERTH_ESAVE')
  assert.match(error.message, /\/x: No space left on device/)
})

test.run()
