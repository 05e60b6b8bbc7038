// SPDX-License-Identifier: Apache-2.0
/** The plan of a step, with all that has to be looked up for it on this node. */
import { join } from 'node:path'
import type { StoredImage } from '../image/image.js'
import type { AcceleratorFacts } from '../plan/accelerators.js'
import { type PlanInput, planStep } from '../plan/plan.js'
import { clientName } from '../plan/pmi_mounts.js'
import type { ActiveProfile } from '../plan/profile_choice.js'
import type { Plan } from '../plan/spec.js'
import { DIST } from '../site/dist.js'
import type { PreparedStep, Rooms, StepPlace } from '../step.js'
import { acceleratorFacts } from './accelerator_facts.js'
import { listDevices } from './devices.js'
import type { WantedMpi } from './host_mpi.js'
import { pmixDirectories } from './slurm_files.js'

/** In dist/, which this folder is in. */
const LAUNCHER = 'berth-exec'

/** A plan, and what of this node it was made from. */
export interface PlannedStep {
  plan: Plan
  accelerators: AcceleratorFacts
}

/**
 * The plan for a task at `place`; for a step without a task yet, from the step's own words.
 * @throws BerthError of what the request, the image or the node does not allow
 */
export async function planWith(
  rooms: Rooms,
  prepared: PreparedStep,
  place: StepPlace,
  stored: StoredImage | undefined,
): Promise<Plan> {
  return (await planFully(rooms, prepared, place, stored)).plan
}

export async function planFully(
  rooms: Rooms,
  prepared: PreparedStep,
  place: StepPlace,
  stored: StoredImage | undefined,
): Promise<PlannedStep> {
  const { facts, container } = prepared
  if (container === undefined) throw new Error('a step without a container has no plan')
  const { request, engine, reference, user } = container
  const input: PlanInput = {
    request,
    image: {
      reference: reference?.canonical ?? '',
      ...(stored === undefined ? {} : { stored, facts: await rooms.store.facts(stored) }),
    },
    engine: engine.name,
    site: rooms.site,
    user,
    launcher: join(DIST, LAUNCHER),
    step: {
      context: facts.context,
      job: facts.job,
      step: facts.step,
      cwd: place.cwd,
      environment: place.environment ?? new Map(Object.entries(facts.env)),
      ...(facts.script === undefined ? {} : { script: facts.script }),
    },
  }
  const accelerators = await acceleratorFacts(input, place.pid)
  const own = request.unshare.includes('ipc') || accelerators.newNames === true
  const host = await rooms.host.read(mpiOfProfiles(accelerators.profiles?.active ?? []))
  const plan = planStep({
    ...input,
    host: {
      ...host,
      accelerators,
      pmixClients: pmixDirectories(rooms.site.get('slurm_conf'), clientName(input)),
    },
    ...(own ? { devices: listDevices() } : {}),
  })
  return { plan, accelerators }
}

/** MPI installations that the step's profiles name. */
function mpiOfProfiles(active: readonly ActiveProfile[]): WantedMpi | undefined {
  const naming = active.filter(({ profile }) => profile.mpi !== undefined)
  if (naming.length === 0) return undefined
  const origin = `profile ${naming.map(({ profile }) => profile.name).join(', ')}`
  const families = naming.flatMap(({ profile }) => profile.mpiFamily ?? [])
  return {
    ...{ named: naming.flatMap(({ profile }) => profile.mpi ?? []), origin },
    // One that means all of its directory means all.
    ...(families.length < naming.length ? {} : { families }),
  }
}
