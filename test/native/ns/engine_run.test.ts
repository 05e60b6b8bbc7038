// SPDX-License-Identifier: Apache-2.0
/** What is known of an engine's program when it has ended: its status and its words, however busy the worker is. */
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { EngineRun } from '../../../src/launch/engine_run.js'
import { suite } from '../../suite.js'

const test = suite('engine run')
/** The built one: berth-tend lies beside it. */
const { EngineRun: Run }: { EngineRun: typeof EngineRun } = await import(
  join(import.meta.dirname, '../../../dist/launch/engine_run.js')
)
/** Many end at a time: the end of one is then seen while the words of another are still to be read. */
const AT_ONCE = 40

async function inOwnNamespace(
  argv: readonly string[],
  look: (run: EngineRun) => Promise<void>,
): Promise<void> {
  const mountNs = openSync('/proc/self/ns/mnt', 'r')
  const place = { mountNs, user: { uid: 0, gid: 0, gids: [] }, environment: { PATH: '/usr/bin:/bin' } }
  const runs = Array.from({ length: AT_ONCE }, () => new Run(argv, place))
  try {
    await Promise.all(runs.map(look))
  } finally {
    await Promise.all(runs.map((run) => run.kill()))
    closeSync(mountNs)
  }
}

const complains = ['/bin/sh', '-c', 'echo a word >&2; exit 3']

test('the status is there when the program has ended, and its words once all is heard', () =>
  inOwnNamespace(complains, async (run) => {
    await run.ended
    assert.is(run.exitCode, 3)
    await run.finish()
    assert.is(run.summary(3), 'a word')
  }))

test('the status is there when nothing is left', () =>
  inOwnNamespace(complains, async (run) => {
    await run.gone
    assert.is(run.exitCode, 3)
  }))

test('a program that is not there has a status and says so', () =>
  inOwnNamespace(['/no/such/engine'], async (run) => {
    await run.ended
    await run.finish()
    assert.is.not(run.exitCode, 0)
    assert.match(run.summary(3), /no\/such\/engine/)
  }))

test.run()
