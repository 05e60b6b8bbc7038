// SPDX-License-Identifier: Apache-2.0
/** Containers of jobs go with them; what goes wrong on the way is told and ends neither the worker nor a container. */
import { deepEqual, equal, match } from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Native } from '../../../src/native.js'
import { type Container, Containers } from '../../../src/store/containers.js'
import { suite } from '../../suite.js'
import { DIST, loadNative, missing, until } from '../ns/lab.js'

const test = suite('ends of jobs')
const needs = missing()
const native = needs === undefined ? loadNative() : (undefined as never)
const folder = mkdtempSync(join(tmpdir(), 'berth-job-end-'))
const FACTS = { creator: 'ab', image: { key: 'sha256-1-f1', reference: 'docker.io/library/x:1' } }
/** Beyond pid_max (proc(5)). */
const NO_PID = 2 ** 22

test.after(() => rmSync(folder, { recursive: true, force: true }))

/** The worker's own classes, which load the addon beside them. */
async function jobEndsOn(containers: Containers, lines: string[], processes?: Pick<Native, 'processStart'>) {
  const { JobEnds } = (await import(
    join(DIST, 'launch/job_end.js')
  )) as typeof import('../../../src/launch/job_end.js')
  const { Running } = (await import(
    join(DIST, 'launch/running.js')
  )) as typeof import('../../../src/launch/running.js')
  const more = processes === undefined ? [] : ([{ ...native, ...processes }] as const)
  return new JobEnds(containers, new Running(), (line) => lines.push(line), ...more)
}

function containerOf(containers: Containers, pid: number, start: number): Container {
  const id = { uid: 1000, scope: 'job-1', name: 'x' }
  return containers.create(id, { ...FACTS, job: { processes: [{ pid, start }] } })
}

const STUCK = { ...native, removeTree: () => Promise.reject(new Error('ENAMETOOLONG')) }

test.needs(needs, 'a container that cannot be removed is told, and its name is free', async () => {
  const lines: string[] = []
  const containers = new Containers(mkdtempSync(join(folder, 'stuck-')), STUCK, (line) => lines.push(line))
  containerOf(containers, 1, 2)
  const ends = await jobEndsOn(containers, lines)
  ends.sweep()
  await until(() => lines.length === 2, 'both lines')
  deepEqual(lines, [
    'container x of user 1000 ended with its job',
    'a removed container is still on disk: ENAMETOOLONG',
  ])
  equal(containers.list().length, 0)
})

test.needs(needs, 'a container that cannot be buried is told', async () => {
  const lines: string[] = []
  const store = mkdtempSync(join(folder, 'unburied-'))
  const containers = new Containers(store, native)
  containerOf(containers, 1, 2)
  rmSync(join(store, 'containers/.trash'), { recursive: true })
  const ends = await jobEndsOn(containers, lines)
  ends.sweep()
  await until(() => lines.length > 0, 'a line')
  match(lines.join(), /^container x of user 1000 could not end with its job: ENOENT/)
})

test.needs(needs, 'a job that ends while it is about to be watched has ended', async () => {
  const lines: string[] = []
  const containers = new Containers(mkdtempSync(join(folder, 'ended-')), native)
  const container = containerOf(containers, NO_PID, 5)
  let asked = 0
  const ends = await jobEndsOn(containers, lines, { processStart: () => (asked++ === 0 ? 5 : 0) })
  ends.watch(container)
  await until(() => lines.length > 0, 'its end')
  deepEqual(lines, ['container x of user 1000 ended with its job'])
  equal(containers.list().length, 0)
})

test.needs(needs, 'a job that lives and cannot be watched keeps its container', async () => {
  const lines: string[] = []
  const containers = new Containers(mkdtempSync(join(folder, 'kept-')), native)
  // A thread has a start in /proc, but nobody can watch it.
  const thread = Number(readdirSync('/proc/self/task').find((name) => Number(name) !== process.pid))
  const ends = await jobEndsOn(containers, lines)
  ends.watch(containerOf(containers, thread, native.processStart(thread)))
  match(lines.join(), /^container x of user 1000 is not watched: .*pidfd_open/)
  equal(containers.list().length, 1)
})

test.run()
