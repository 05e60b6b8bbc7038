// SPDX-License-Identifier: Apache-2.0
/**
 * A step's plan before its first task is there, made while Slurm is still starting that: an engine is started by it,
 * and where the task has nothing to add it is the plan.
 */
import type { StoredImage } from '../image/image.js'
import { needsDirectory } from '../plan/cwd.js'
import type { Plan } from '../plan/spec.js'
import type { Request } from '../request/request.js'
import type { PreparedStep, Rooms, StepPlace, Turn } from '../step.js'
import type { StepFacts } from '../worker/facts.js'
import { hasAccelerators, nodesStamp } from './accelerator_facts.js'
import { type PlannedStep, planFully, planWith } from './plan_step.js'

export interface Draft {
  plan: Plan
  /** Whether the plan for a first task at this place would be the same. */
  holds(place: StepPlace): boolean
}

/** What a plan may need that only a task's launcher knows: masks and GPU numbers are set for each task, PMIx' directories, too. */
export function waitsForLauncher({ env }: Pick<StepFacts, 'env'>, request: Request | undefined): boolean {
  const { devices = [], profiles = [] } = request ?? {}
  const byMpi = /^pmix/.test(env.SLURM_MPI_TYPE ?? '')
  return byMpi || devices.length > 0 || profiles.length > 0 || hasAccelerators()
}

/** Undefined where nothing would come of it. What a plan finds wrong is said when the tasks are there: by then it may be right. */
export async function draftPlan(
  rooms: Rooms,
  prepared: PreparedStep,
  turn: Pick<Turn, 'namespaces'>,
): Promise<Draft | undefined> {
  const { facts, container, held } = prepared
  if (container === undefined || held === undefined || container.id !== undefined) return undefined
  if (turn.namespaces !== undefined || rooms.jobsApart.seen) return undefined
  if (container.engine.start === undefined && waitsForLauncher(facts, container.request)) return undefined
  const place: StepPlace = { cwd: facts.cwd, close: () => undefined }
  const nodes = nodesStamp()
  const made = await planFully(rooms, prepared, place, held.image).catch(() => undefined)
  if (made === undefined) return undefined
  const holds = (at: StepPlace) =>
    !needsDirectory(container.request) && asksNothing(made, at) && nodes === nodesStamp()
  return { plan: made.plan, holds }
}

/** The draft where it holds, else a plan for the task. @throws BerthError */
export async function planFor(
  rooms: Rooms,
  prepared: PreparedStep,
  place: StepPlace,
  image: StoredImage,
): Promise<Plan> {
  if (place.mountNs !== undefined || place.userNs !== undefined) rooms.jobsApart.seen = true
  const draft = image === prepared.held?.image ? await prepared.draft : undefined
  if (draft?.holds(place)) return draft.plan
  return planWith(rooms, prepared, place, image)
}

/** Which devices a step may open is a question to its task's cgroup, and profiles look at the node each time. */
function asksNothing({ accelerators }: PlannedStep, place: StepPlace): boolean {
  const { nodes, profiles } = accelerators
  const isWorkers = place.mountNs === undefined && place.userNs === undefined
  return isWorkers && place.environment === undefined && nodes.size === 0 && !profiles?.active.length
}
