// SPDX-License-Identifier: Apache-2.0
/**
 * Masks that tell GPU libraries which devices to use. Slurm sets them for each task, so berth never sets one: it keeps
 * the image's own away from them, and drops one that contradicts what the step's cgroup lets through. There devices
 * are counted from 0 (gres.conf, ConstrainDevices), and a mask of the node's numbers hides what is the step's.
 */
import type { PlanInput } from './input.js'
import type { VariableEdits } from './variables.js'

/** The image's value never counts: it is of the machine that built it. */
export const MASKS = [
  'CUDA_VISIBLE_DEVICES',
  'ROCR_VISIBLE_DEVICES',
  'HIP_VISIBLE_DEVICES',
  'GPU_DEVICE_ORDINAL',
  'ZE_AFFINITY_MASK',
] as const
/** Count what ROCR_VISIBLE_DEVICES leaves (ROCm, GPU isolation techniques). */
const BEHIND_ROCR = ['HIP_VISIBLE_DEVICES', 'GPU_DEVICE_ORDINAL', 'CUDA_VISIBLE_DEVICES']
const OF_NVIDIA = ['CUDA_VISIBLE_DEVICES']
/** "MIG-GPU-…/1/0" of old drivers, "MIG-UUID" since 470. */
const MIG = /(^|,)MIG-/
const ORIGIN = 'cgroup of the step'

/** Device nodes by kind that are on the node, and which of them the step may open. */
export interface DeviceCount {
  there: number
  allowed: number
}

/** @returns warnings */
export function planMasks(
  { step }: PlanInput,
  counts: { nvidia: DeviceCount; amd: DeviceCount; mig: DeviceCount },
  variables: VariableEdits,
): string[] {
  const warnings: string[] = []
  const drop = (name: string, value: string, problem: string): void => {
    variables.unset(name, { reason: problem, origin: ORIGIN })
    warnings.push(`${name}=${value} is dropped: ${problem}`)
  }
  for (const name of MASKS) {
    const value = step.environment.get(name) ?? ''
    if (OF_NVIDIA.includes(name) && MIG.test(value) && counts.mig.there > 0 && counts.mig.allowed === 0)
      drop(name, value, 'the step has no instance of MIG')
    const highest = highestIndex(value)
    if (highest === undefined) continue
    const count = counts.nvidia.there > 0 && OF_NVIDIA.includes(name) ? counts.nvidia : counts.amd
    if (count.allowed > 0 && count.allowed < count.there && highest >= count.allowed)
      drop(name, value, `the step has ${count.allowed} of ${count.there} devices, counted from 0`)
    else if (BEHIND_ROCR.includes(name) && counts.amd.there > 0 && counts.nvidia.there === 0) {
      const left = itemsOf(step.environment.get('ROCR_VISIBLE_DEVICES'))
      if (left > 0 && highest >= left)
        drop(name, value, `ROCR_VISIBLE_DEVICES leaves ${left} devices, counted from 0`)
    }
  }
  return warnings
}

/** undefined: no list of plain numbers, as with UUIDs. */
function highestIndex(mask: string): number | undefined {
  if (!/^\d{1,4}(\.\d{1,4})?(,\d{1,4}(\.\d{1,4})?)*$/.test(mask)) return undefined
  return Math.max(...mask.split(',').map((item) => Number.parseInt(item, 10)))
}

function itemsOf(mask: string | undefined): number {
  return mask === undefined || mask === '' ? 0 : mask.split(',').length
}
