// SPDX-License-Identifier: Apache-2.0
/**
 * What torch.distributed's env:// initialisation reads, for images that say they have PyTorch: names and values as
 * enroot's 50-slurm-pytorch hook and pyxis give them. Ranks are each task's own; what else the user or the image chose
 * stays.
 */
import { IMAGE_CONFIG, type PlanInput } from './input.js'
import type { PlannedVariable } from './spec.js'
import { imageValue } from './variables.js'

/** Ports above those of the ephemeral range (ip(7): up to 60999), one a job. */
const PORT_FIRST = 61_000
const PORT_COUNT = 4536
const MARK = 'PYTORCH_VERSION='
/** Slurm's word for a task's number → PyTorch's. */
const COPIES = [
  ['RANK', 'SLURM_PROCID'],
  ['LOCAL_RANK', 'SLURM_LOCALID'],
  ['WORLD_SIZE', 'SLURM_NTASKS'],
] as const

export function planPytorchVariables(input: PlanInput): PlannedVariable[] {
  const { image, step } = input
  if (step.job === 0 || image.stored?.config.env.some((entry) => entry.startsWith(MARK)) !== true) return []
  const why = { reason: 'rendezvous of PyTorch', origin: IMAGE_CONFIG }
  const { environment } = step
  const nodes = environment.get('SLURM_STEP_NODELIST') ?? environment.get('SLURM_JOB_NODELIST') ?? ''
  const chosen: [string, string][] = [
    ...(nodes === '' ? [] : [['MASTER_ADDR', firstHost(nodes)] satisfies [string, string]]),
    ['MASTER_PORT', String(PORT_FIRST + (step.job % PORT_COUNT))],
    ...(sharesNodes(environment) ? [['OMP_NUM_THREADS', '1'] satisfies [string, string]] : []),
  ]
  return [
    ...chosen
      .filter(([name]) => imageValue(input, name) === undefined)
      .map(([name, value]): PlannedVariable => ({ name, action: 'default', value, ...why })),
    ...COPIES.map(([name, value]): PlannedVariable => ({ name, action: 'copy', value, ...why })),
  ]
}

/** Several tasks on a node: each would start a thread per core, so torchrun gives its processes one. */
function sharesNodes(environment: ReadonlyMap<string, string>): boolean {
  const count = (name: string): number => Number(environment.get(name) ?? 1)
  return count('SLURM_STEP_NUM_TASKS') > count('SLURM_STEP_NUM_NODES')
}

/** First name of a Slurm host list: "gpu[07-09,12]-ib,login" → "gpu07-ib". */
export function firstHost(list: string): string {
  const first = /^(?:[^,[]|\[[^\]]*\])*/.exec(list)?.[0] ?? list
  return first.replace(/\[([^\],-]*)[^\]]*\]/g, '$1')
}
