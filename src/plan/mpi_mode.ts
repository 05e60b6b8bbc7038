// SPDX-License-Identifier: Apache-2.0
/** How far the node's MPI and what is below it goes into the image; the user's word before the site's. */
import type { MpiMode } from '../request/request.js'
import { originOf, type PlanInput } from './input.js'

type Asked = Pick<PlanInput, 'request' | 'site'>

export function mpiMode({ request, site }: Asked): MpiMode {
  return request.mpi ?? site.get('container_mpi')
}

export function mpiOrigin({ request, site }: Asked): string {
  return originOf(request, 'container-mpi', site.origin('container_mpi'))
}
