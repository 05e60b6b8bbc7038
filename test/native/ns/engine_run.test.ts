// SPDX-License-Identifier: Apache-2.0
/** What is known of an engine's program when it has ended: its status and its words, however busy the worker is. */
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { Engine } from '../../../src/engine/engine.js'
import type { engineFinder } from '../../../src/engine/installed.js'
import type { EngineRun } from '../../../src/launch/engine_run.js'
import type { Native } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { until } from './lab.js'

const test = suite('engine run')
/** The built one: berth-tend lies beside it. */
const DIST = join(import.meta.dirname, '../../../dist')
const RUN = join(DIST, 'launch/engine_run.js')
const { EngineRun: Run }: { EngineRun: typeof EngineRun } = await import(RUN)
const { engineFinder: finder }: { engineFinder: typeof engineFinder } = await import(
  join(DIST, 'engine/installed.js')
)
const { native }: { native: Native } = await import(join(DIST, 'native.js'))
/** Many end at a time: the end of one is then seen while the words of another are still to be read. */
const AT_ONCE = 40
const ROLE = { user: { uid: 0, gid: 0, gids: [] }, environment: { PATH: '/usr/bin:/bin' } }

async function inOwnNamespace(
  argv: readonly string[],
  look: (run: EngineRun) => Promise<void>,
): Promise<void> {
  const mountNs = openSync('/proc/self/ns/mnt', 'r')
  const runs = Array.from({ length: AT_ONCE }, () => new Run().start(argv, ROLE, { mountNs }))
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

/** No program can be started: there is no memory for a copy of this process. Counts the attempts. */
async function withoutMemory(body: (attempts: () => number) => Promise<void>): Promise<void> {
  const { withoutForks } = native
  let attempts = 0
  native.withoutForks = () => {
    attempts++
    throw Object.assign(new Error('spawn ENOMEM'), { code: 'ENOMEM' })
  }
  try {
    await body(() => attempts)
  } finally {
    native.withoutForks = withoutForks
  }
}

test('where no memory is left to start one it says so, and the worker lives', () =>
  withoutMemory(async (attempts) => {
    // The spare one, if there is one, and the first attempt to have another.
    await new Run().finish()
    const before = attempts()
    await until(() => attempts() > before, 'an attempt of the timer')
    for (const run of [new Run(), new Run('input')]) {
      await run.ended
      await run.finish()
      assert.is(run.exitCode, undefined)
      assert.is(run.summary(3), 'spawn ENOMEM')
    }
  }))

test('an engine that could not be asked once is asked again', async () => {
  const find = finder({ get: () => '/usr/bin:/bin' as never })
  const needs = { binary: 'sh', kernel: [], versionWords: ['-c', 'echo 1.2'] }
  const engine = { name: 'crun', needs } as unknown as Engine
  await withoutMemory(async () => {
    assert.match(JSON.stringify(await find(engine)), /does not say its version: spawn ENOMEM/)
  })
  assert.is(((await find(engine)) as { version: string }).version, '1.2')
})

test('nothing is said of a run that was ended before it was started', async () => {
  const run = new Run()
  await run.finish()
  assert.is(run.exitCode, undefined)
  assert.is(run.summary(3), '')
})

test('a descriptor that is no namespace is refused', async () => {
  const mountNs = openSync(import.meta.dirname, 'r')
  const run = new Run().start(['/bin/true'], ROLE, { mountNs })
  await run.ended
  await run.finish()
  closeSync(mountNs)
  assert.is.not(run.exitCode, 0)
  assert.match(run.summary(3), /berth-tend: /)
})

/** What a process of its own prints that has this module's EngineRun as `Run`. */
function script(body: string): string {
  const head = `const { EngineRun: Run } = await import(${JSON.stringify(RUN)}); const fs = await import('node:fs')`
  const told = spawnSync(process.execPath, ['--input-type=module', '-e', `${head}\n${body}`], {
    encoding: 'utf8',
  })
  assert.is(told.status, 0, told.stderr)
  return told.stdout
}

test('it is no later in line than others when memory ends', () => {
  const said = script(`
    fs.writeFileSync('/proc/self/oom_score_adj', '300')
    const mountNs = fs.openSync('/proc/self/ns/mnt')
    const run = new Run().start(['/bin/cat', '/proc/self/oom_score_adj'], ${JSON.stringify(ROLE)}, { mountNs })
    await run.finish(await run.ended)
    fs.writeSync(1, run.summary(1))`)
  assert.is(said, '0')
})

test('without a descriptor left a program could not be run, and nothing else happens', () => {
  const said = script(`
    try { for (;;) fs.openSync('/dev/null', 'r') } catch {}
    const run = new Run().start(['/bin/true'], ${JSON.stringify(ROLE)}, { mountNs: 0 })
    await run.gone
    await run.finish()
    fs.writeSync(1, String(run.exitCode) + ' ' + run.summary(1))`)
  assert.match(said, /^undefined .*EMFILE/)
})

test('one is ready for the next run, and ends with the process that it waits for', async () => {
  const said = script(`
    const children = () => fs.readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').trim()
    const run = new Run()
    await run.finish()
    while (children() === '') await new Promise((resolve) => setTimeout(resolve, 10))
    fs.writeSync(1, children())`)
  assert.match(said, /^\d+$/)
  while (existsSync(`/proc/${said}/exe`)) await new Promise((resolve) => setTimeout(resolve, 10))
})

test.run()
