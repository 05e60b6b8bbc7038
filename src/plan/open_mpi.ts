// SPDX-License-Identifier: Apache-2.0
/**
 * What is Open MPI's alone: it is one with its modules, settings and texts, which it reads at the paths of its own build,
 * so these come along; and an image may say by variables that they are elsewhere (docs/decisions/0021-mpi-from-the-node.md).
 */
import type { HostMpi } from './host.js'
import type { PlanInput } from './input.js'
import { keptBy, type MpiKept } from './mpi_kept.js'
import type { PlannedVariable, Reason } from './spec.js'
import { imageValue } from './variables.js'

/** installdirs of Open MPI 4 to 6 and of PMIx; where their modules are searched. */
const PLACES = [
  ...['PREFIX', 'LIBDIR', 'PKGLIBDIR', 'DATADIR', 'PKGDATADIR', 'DATAROOTDIR', 'SYSCONFDIR'].map(
    (name) => `OPAL_${name}`,
  ),
  ...['OMPI_MCA_mca_base_component_path', 'OMPI_MCA_component_path', 'OMPI_MCA_mca_component_path'],
  ...['PMIX_INSTALL_PREFIX', 'PMIX_PREFIX', 'PMIX_MCA_mca_base_component_path'],
]

/**
 * Why auto leaves the image's: an Open MPI built for GPUs or another fabric is better than the one that a distribution
 * happens to have put on the node. One that the site names is meant for images.
 */
export function keepsOpenMpi({ named }: HostMpi, mode: string): MpiKept | undefined {
  if (named || mode === 'host') return undefined
  return keptBy(
    'unnamed',
    "it uses the node's process manager and fabric as it is; the node's takes its place only where the site names one (mpi_host, a profile) or with --container-mpi=host",
  )
}

/** The image's word on where things are does not hold for the node's; the task's own does. */
export function planPlaces(input: PlanInput, why: Reason): PlannedVariable[] {
  return PLACES.filter((name) => imageValue(input, name) !== undefined).map((name) =>
    input.step.environment.has(name)
      ? { name, action: 'copy', value: name, ...why }
      : { name, action: 'unset', ...why },
  )
}
