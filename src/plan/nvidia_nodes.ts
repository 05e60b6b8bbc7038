// SPDX-License-Identifier: Apache-2.0
/**
 * Parts of NVIDIA's driver that are device nodes of their own: capabilities of MIG (Multi-Instance GPU User Guide,
 * "Device Nodes and Capabilities") and channels of IMEX. Without a CDI file the host's /dev has them all, and the step's
 * cgroup and the nodes' modes say which can be opened; NVIDIA_IMEX_CHANNELS narrows what is seen.
 */
import { posix } from 'node:path'
import type { AcceleratorFacts } from './accelerators.js'
import { bindNode } from './device_node.js'
import type { PlanInput } from './input.js'
import type { DeviceCount } from './masks.js'
import type { PlannedMount, Reason } from './spec.js'
import { presentValue } from './variables.js'

export const MIG_DEVICES = '/dev/nvidia-caps/nvidia-cap[0-9]*'
export const IMEX_DIRECTORY = '/dev/nvidia-caps-imex-channels'
export const IMEX_DEVICES = `${IMEX_DIRECTORY}/channel[0-9]*`
/** Minor numbers of /proc/driver/nvidia-caps/mig-minors; those above are instances. */
const MIG_CONFIG = 1
const MIG_MONITOR = 2
const CHANNEL = /^\d{1,5}$/
const DIRECTORY_MODE = 0o755

interface NodeEdits {
  mounts: PlannedMount[]
  warnings: string[]
  notes: string[]
}

export function planNvidiaNodes(input: PlanInput, why: Reason): NodeEdits {
  const edits: NodeEdits = { mounts: [], warnings: [], notes: [] }
  const facts = input.host?.accelerators
  if (facts === undefined) return edits
  planMig(input, facts, edits)
  planImex(input, facts, edits, why)
  return edits
}

/** Instances of MIG: compute instances and what holds them. */
export function countMig(facts: AcceleratorFacts): DeviceCount {
  const instances = (facts.globs.get(MIG_DEVICES) ?? []).filter((path) => minorOf(facts, path) > MIG_MONITOR)
  return {
    there: instances.length,
    allowed: instances.filter((path) => facts.nodes.get(path)?.allowed !== false).length,
  }
}

function minorOf(facts: AcceleratorFacts, path: string): number {
  return facts.nodes.get(path)?.minor ?? 0
}

function planMig(input: PlanInput, facts: AcceleratorFacts, edits: NodeEdits): void {
  const nodes = facts.globs.get(MIG_DEVICES) ?? []
  const { there, allowed } = countMig(facts)
  if (there > 0) edits.notes.push(`MIG: the step may open ${allowed} of ${there} capabilities of instances`)
  for (const [name, minor, what] of [
    ['NVIDIA_MIG_CONFIG_DEVICES', MIG_CONFIG, 'to change instances'],
    ['NVIDIA_MIG_MONITOR_DEVICES', MIG_MONITOR, 'to watch all instances'],
  ] as const) {
    if (isEmpty(presentValue(input, name))) continue
    const node = nodes.find((path) => minorOf(facts, path) === minor)
    if (node === undefined) edits.warnings.push(`${name}: this node has no MIG capability ${what}`)
    else if (facts.nodes.get(node)?.allowed === false)
      edits.warnings.push(`${name}: ${node} was not given to this step (its cgroup denies it)`)
    else edits.notes.push(`${name}: ${node} is there; its owner and mode decide, a container adds no rights`)
  }
}

/** Named channels are the only ones that are seen; "all" are those of the job, which Slurm makes in its namespace. */
function planImex(input: PlanInput, facts: AcceleratorFacts, edits: NodeEdits, why: Reason): void {
  const found = facts.globs.get(IMEX_DEVICES) ?? []
  if (found.length > 0)
    edits.notes.push(`IMEX: ${found.map((path) => posix.basename(path)).join(', ')} of the job`)
  const value = presentValue(input, 'NVIDIA_IMEX_CHANNELS')
  if (isEmpty(value) || value === 'all') return
  const chosen: string[] = []
  for (const word of new Set(value.split(',').map((one) => one.trim()))) {
    const path = `${IMEX_DIRECTORY}/channel${word}`
    if (!CHANNEL.test(word))
      edits.warnings.push(`NVIDIA_IMEX_CHANNELS: ${JSON.stringify(word.slice(0, 40))} is no number`)
    else if (!found.includes(path))
      edits.warnings.push(`NVIDIA_IMEX_CHANNELS=${word}: this job has no ${path}`)
    else if (facts.nodes.get(path)?.allowed === false)
      edits.warnings.push(`NVIDIA_IMEX_CHANNELS=${word}: the step's cgroup denies ${path}`)
    else chosen.push(path)
  }
  if (found.length === 0) return
  const because = { reason: `${why.reason}: NVIDIA_IMEX_CHANNELS=${value.slice(0, 40)}`, origin: why.origin }
  const { uid, gid } = input.user
  edits.mounts.push(
    {
      ...{ kind: 'tmpfs', target: IMEX_DIRECTORY, options: `uid=${uid},gid=${gid}`, mode: DIRECTORY_MODE },
      ...{ flags: ['nosuid', 'noexec'], ...because },
    },
    ...chosen.map((path) => bindNode(path, path, because)),
  )
}

function isEmpty(value: string): boolean {
  return value === '' || value === 'void' || value === 'none'
}
