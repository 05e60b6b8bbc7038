// SPDX-License-Identifier: Apache-2.0
/** Behaviours of the engines' table that look from outside at a task that waits. */
import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { engineByName } from '../../src/engine/engines.js'
import { type Running, until } from '../cluster/command.js'
import { processAlive, sendSignal } from '../cluster/daemon.js'
import { exits, lines, says } from '../cluster/expect.js'
import type { Fixture } from '../cluster/fixture.js'
import { otherRelease } from '../cluster/images.js'
import { type EngineCase, stepWords } from './engines.js'
import { holders, leavesNothing, tasks } from './lookout.js'

/** Fills 60 MB and takes a second of processor time, without a child (fields 14 and 15 of proc(5)'s stat, in 1/100 s). */
const BURN = `
kept=$(head -c 60m /dev/zero | tr '\\0' x)
while read line </proc/self/stat; set -- $line; shift 13; [ $(($1 + $2)) -lt 100 ]; do :; done
`
const USED_MIN_KB = 60 << 10
/** The shell itself has few of its own. */
const USED_MAX_KB = 80 << 10

/** As the user is told by sstat. */
export async function isAccounted(at: Fixture, engine: EngineCase): Promise<void> {
  assert.is(engineByName(engine.name)?.abilities.stepCgroup, true)
  const step = startHeld(at, engine, BURN)
  await step.running.sees(/job \d+ waits/)
  const job = /job (\d+) waits/.exec(step.running.output())?.[1] ?? ''
  try {
    await isToldBySstat(at, job)
  } finally {
    // Whatever was found: a step that stays has the processor that the next ones want.
    step.release()
  }
  exits(await step.running.done, 0)
}

async function isToldBySstat(at: Fixture, job: string): Promise<void> {
  const asked = ['sstat', '--noheader', '--parsable2', '--format=NTasks,AveCPU,MaxRSS', `--jobs=${job}`]
  const [told = ''] = lines(await at.cluster.command(asked))
  // Slurm tells multiples of half a megabyte in megabytes.
  const [, used = '', unit = ''] = /^1\|00:00:0[1-3]\|([\d.]+)([KM])$/.exec(told) ?? []
  const kilobytes = Number(used) * (unit === 'M' ? 1024 : 1)
  assert.ok(kilobytes >= USED_MIN_KB && kilobytes < USED_MAX_KB, `sstat: ${told}`)
}

/** What holds the engine ends with it, what the engine holds goes on. */
export async function losesItsWorker(at: Fixture, engine: EngineCase): Promise<void> {
  const step = startHeld(at, engine, '', '. /etc/os-release; echo "$VERSION_CODENAME"; exit 7')
  await step.running.sees(/waits/)
  const held = holders(at.cluster)
  assert.is(held.length, engine.name === 'native' ? 0 : 1)
  const worker = at.cluster.nodes[0]?.workerPid() ?? 0
  sendSignal(worker, 'SIGKILL')
  await until('the end of the worker', () => !processAlive(worker))
  await until('the end of what held it', () => held.every((pid) => !processAlive(Number(pid))))
  assert.is(tasks(at.cluster).length, 1)
  step.release()
  says(exits(await step.running.done, 7), new RegExp(otherRelease()))
  await leavesNothing(at.cluster, engine.name, held)
}

/**
 * One task on the first node that does the first part, says so, and does the second when it is let. It waits without a
 * child: Slurm may look between a fork and its exec, when the memory of two shells is counted.
 */
function startHeld(
  at: Fixture,
  engine: EngineCase,
  first: string,
  then = '',
): { running: Running; release(): void } {
  const go = join(at.cluster.shared, `go-${engine.name}-${randomUUID()}`)
  execFileSync('mkfifo', ['-m', '666', go])
  // Both ends (fifo(7)): neither side waits for the other to open it.
  const end = openSync(go, 'r+')
  const wait = `echo "job $SLURM_JOB_ID waits"; read go <${go}`
  const mount = `--container-mounts=${at.cluster.shared}`
  const words = stepWords(
    engine,
    at.images.debian,
    ['-n1', '-w', 'n1', mount],
    'sh',
    '-c',
    [first, wait, then].join('\n'),
  )
  return { running: at.cluster.start(['srun', ...words]), release: () => void writeSync(end, '\n') }
}
