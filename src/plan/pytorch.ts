// SPDX-License-Identifier: Apache-2.0
/**
 * What torch.distributed's env:// initialisation reads, for images that say they have PyTorch: names and values as
 * enroot's 50-slurm-pytorch hook and pyxis give them. Ranks are each task's own; an address that the user chose stays.
 */
import { IMAGE_CONFIG, type PlanInput } from './input.js'
import type { PlannedVariable } from './spec.js'

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

export function planPytorchVariables({ image, step }: PlanInput): PlannedVariable[] {
  if (step.job === 0 || image.stored?.config.env.some((entry) => entry.startsWith(MARK)) !== true) return []
  const why = { reason: 'rendezvous of PyTorch', origin: IMAGE_CONFIG }
  const { environment } = step
  const nodes = environment.get('SLURM_STEP_NODELIST') ?? environment.get('SLURM_JOB_NODELIST') ?? ''
  const address: PlannedVariable[] =
    nodes === '' ? [] : [{ name: 'MASTER_ADDR', action: 'default', value: firstHost(nodes), ...why }]
  const port = String(PORT_FIRST + (step.job % PORT_COUNT))
  return [
    ...address,
    { name: 'MASTER_PORT', action: 'default', value: port, ...why },
    ...COPIES.map(([name, value]): PlannedVariable => ({ name, action: 'copy', value, ...why })),
  ]
}

/** First name of a Slurm host list: "gpu[07-09,12]-ib,login" → "gpu07-ib". */
export function firstHost(list: string): string {
  const first = /^(?:[^,[]|\[[^\]]*\])*/.exec(list)?.[0] ?? list
  return first.replace(/\[([^\],-]*)[^\]]*\]/g, '$1')
}
