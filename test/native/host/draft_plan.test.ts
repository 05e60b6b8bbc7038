// SPDX-License-Identifier: Apache-2.0
/** A plan that was made before the first task: taken where that has nothing to add, made again where it has. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { nativeEngine } from '../../../src/engine/native.js'
import { NO_FACTS } from '../../../src/image/facts.js'
import type { Plan } from '../../../src/plan/spec.js'
import type { PreparedStep, Rooms, StepPlace } from '../../../src/step.js'
import { suite } from '../../suite.js'
import { planInput } from '../../unit/plan_input.js'
import { missing } from '../ns/lab.js'

const test = suite('plans before a task')
const needs = missing()
const BUILT = join(import.meta.dirname, '../../../dist/launch/draft_plan.js')

interface Outcome {
  draft: Plan | undefined
  plan: Plan
  /** Plans that were made. */
  count: number
  rooms: Rooms
}

/** What slurmstepd tells of a step has no directory; its first task stands in /work/run. */
async function planned(options: string[] = [], at: Partial<StepPlace> = {}): Promise<Outcome> {
  const { request, image, user, site } = planInput({ options })
  const { stored } = image
  if (stored === undefined) throw new Error('the test has no image')
  let count = 0
  const rooms = {
    site,
    store: { facts: async () => NO_FACTS },
    host: {
      read: async () => {
        count++
        return { machine: 'x86_64', mpi: [], problems: [] }
      },
    },
    jobsApart: { seen: false },
  } as unknown as Rooms
  const facts = { context: 'step', job: 4711, step: 0, cwd: '/', env: {} }
  const container = { request, engine: nativeEngine, user }
  const known = { facts, container, held: { image: stored } } as unknown as PreparedStep
  const { draftPlan, planFor } = (await import(BUILT)) as typeof import('../../../src/launch/draft_plan.js')
  const draft = draftPlan(rooms, known, {})
  const place = { cwd: '/work/run', close: () => undefined, ...at }
  const plan = await planFor(rooms, { ...known, draft }, place, stored)
  return { draft: (await draft)?.plan, plan, count, rooms }
}

const sources = (plan: Plan) => plan.mounts.flatMap((mount) => (mount.kind === 'bind' ? [mount.source] : []))

test.needs(needs, 'most steps are planned once', async () => {
  const { plan, draft, count } = await planned(['container-mounts=/data:/data', 'container-workdir=/data'])
  assert.equal(plan, draft)
  assert.equal(count, 1)
})

test.needs(needs, 'what counts from the directory of the task is planned where that is', async () => {
  const relative = await planned(['container-mounts=./data:/data'])
  assert.ok(sources(relative.plan).includes('/work/run/data'))
  const mounted = await planned(['container-mount-cwd'])
  assert.ok(sources(mounted.plan).includes('/work/run'))
  assert.equal(mounted.plan.process.cwd, '/work/run')
})

test.needs(needs, 'the environment of a launcher counts', async () => {
  const environment = new Map([['HOME', '/elsewhere']])
  const { plan } = await planned(['container-mount-home'], { environment })
  assert.ok(sources(plan).includes('/elsewhere'))
})

test.needs(
  needs,
  'a job with namespaces of its own is planned for, and the next one not before its task',
  async () => {
    const { plan, draft, rooms } = await planned([], { mountNs: 9 })
    assert.notEqual(plan, draft)
    assert.equal(rooms.jobsApart.seen, true)
  },
)

test.run()
