// SPDX-License-Identifier: Apache-2.0
/** A step's GPUs: which of the node's it may open, and whether they come with a CDI file, the driver's files or alone. */
import type { AcceleratorFacts } from './accelerators.js'
import type { ChosenDevice } from './cdi.js'
import { originOf, type PlanInput } from './input.js'
import type { DeviceCount } from './masks.js'
import type { Reason } from './spec.js'
import { presentValue } from './variables.js'

/** Device nodes of GPUs on the host. /dev/nvidiactl and the like belong to all of them. */
export const GPU_DEVICES = {
  nvidia: '/dev/nvidia[0-9]*',
  amd: '/dev/dri/renderD*',
} as const
export const GPU_SHARED_DEVICES = ['/dev/nvidiactl', '/dev/nvidia-uvm', '/dev/kfd'] as const
/** CDI devices that stand for all of a step's, by the toolkits of their vendors. */
const ALL = { nvidia: 'nvidia.com/gpu=all', amd: 'amd.com/gpu=all', intel: 'intel.com/gpu=all' } as const
/** Set by Slurm where the job has GPUs as a generic resource. */
const OF_SLURM = ['SLURM_STEP_GPUS', 'SLURM_JOB_GPUS', 'SLURM_GPUS_ON_NODE'] as const

interface GpuPlan extends Reason {
  /** Added to what was asked for by name. */
  devices: ChosenDevice[]
  /** The driver's files, since no CDI file has them. */
  nvidia: boolean
  notes: string[]
}

export function planGpus(input: PlanInput): GpuPlan {
  const { site, host } = input
  const why = { reason: 'GPUs of the step', origin: site.origin('container_gpu') }
  const plan: GpuPlan = { ...why, devices: [], nvidia: false, notes: [] }
  const facts = host?.accelerators
  if (facts === undefined || site.get('container_gpu') === 'off') return plan
  const named = input.request.devices.some((device) => /^(nvidia|amd|intel)\.com\/gpu=/.test(device))
  const asked = wanted(input)
  if (named || !asked.gpus) {
    if (asked.note !== undefined && facts.nvidia !== undefined) plan.notes.push(asked.note)
    return plan
  }
  for (const [vendor, name] of Object.entries(ALL)) {
    if (!facts.cdi.devices.has(name)) continue
    plan.devices.push({ name, automatic: true, ...why })
    if (vendor === 'nvidia') return plan
  }
  plan.nvidia =
    facts.nvidia !== undefined && (countOf(facts, GPU_DEVICES.nvidia).allowed > 0 || asked.libraries)
  return plan
}

/** By Slurm, which gave the step some; else by the word of the image or the user for NVIDIA's toolkit. */
function wanted(input: PlanInput): { gpus: boolean; libraries: boolean; note?: string } {
  const word = presentValue(input, 'NVIDIA_VISIBLE_DEVICES')
  const bySlurm = OF_SLURM.some((name) => (input.step.environment.get(name) ?? '') !== '')
  const origin = originOf(input.request, 'container-env', 'image or step')
  if (word === 'void')
    return { gpus: false, libraries: false, note: `NVIDIA_VISIBLE_DEVICES=void (${origin}): no driver` }
  if (word === 'none') return { gpus: true, libraries: true }
  return { gpus: bySlurm || word !== '', libraries: false }
}

export function countOf(facts: AcceleratorFacts, pattern: string): DeviceCount {
  const nodes = facts.globs.get(pattern) ?? []
  return {
    there: nodes.length,
    allowed: nodes.filter((path) => facts.nodes.get(path)?.allowed !== false).length,
  }
}
