// SPDX-License-Identifier: Apache-2.0
/**
 * The machine's own network: its devices are in the host's /dev, which is inside; what is added here is what programs
 * read beside them. Libraries are a profile's or MPI's matter, since they must fit the image (docs/operators.md).
 */
import type { PlanInput } from './input.js'
import type { HookupEdits, PlannedMount } from './spec.js'

/** What is looked for on the host: pattern of device nodes → what it is for. */
export const FABRIC_DEVICES: Readonly<Record<string, string>> = {
  '/dev/infiniband/uverbs*': 'verbs (InfiniBand, RoCE, EFA)',
  '/dev/infiniband/rdma_cm': 'connection manager of verbs',
  '/dev/cxi[0-9]*': 'Slingshot (CXI)',
  '/dev/hfi1*': 'Omni-Path',
  '/dev/kgni0': 'Aries',
  '/dev/xpmem': 'memory of other ranks (XPMEM)',
  '/dev/knem': 'memory of other ranks (KNEM)',
  '/dev/gdrdrv': 'GPU memory for the network (GDRCopy)',
  '/dev/ss0': 'Slingshot statistics',
}
/** Host directories beside the devices, at their own paths. */
export const FABRIC_DIRECTORIES: readonly (readonly [path: string, reason: string])[] = [
  ['/var/lib/hugetlbfs', 'huge pages'],
  ['/run/cxi', "Slingshot's own state"],
  ['/run/opafm', "Omni-Path's own state"],
]
/** Their state is of the fabric alone. */
const DIRECTORY_FLAGS = ['nosuid', 'nodev']

export function planFabric({ host, site }: PlanInput): Partial<HookupEdits> {
  const facts = host?.accelerators
  if (facts === undefined || site.get('container_fabric') === 'off') return {}
  const origin = site.origin('container_fabric')
  const mounts = FABRIC_DIRECTORIES.filter(([path]) => facts.paths.has(path)).map(
    ([path, reason]): PlannedMount => ({
      ...{ kind: 'bind', source: path, target: path, flags: DIRECTORY_FLAGS, recursive: true, create: 'dir' },
      ...{ trusted: false, optional: true, replaceLink: true, reason, origin },
    }),
  )
  const notes = Object.entries(FABRIC_DEVICES).flatMap(([pattern, what]) => {
    const nodes = facts.globs.get(pattern) ?? []
    const denied = nodes.filter((path) => facts.nodes.get(path)?.allowed === false)
    const given = nodes.length - denied.length
    return [
      ...(given > 0 ? [`fabric: ${what}: ${given} devices of ${pattern}`] : []),
      ...(denied.length > 0 ? [`fabric: ${what}: not given to this step: ${denied.join(', ')}`] : []),
    ]
  })
  return { mounts, notes }
}
