// SPDX-License-Identifier: Apache-2.0
/** Every engine berth knows, in the order in which `auto` tries them. */
import { apptainerEngine, singularityEngine } from './apptainer.js'
import { charliecloudEngine } from './charliecloud.js'
import { crunEngine } from './crun.js'
import { dockerEngine } from './docker.js'
import type { Engine } from './engine.js'
import { enrootEngine } from './enroot.js'
import { nativeEngine } from './native.js'
import { podmanEngine } from './podman.js'
import { podmanHpcEngine } from './podman_hpc.js'
import { runcEngine } from './runc.js'
import { sarusEngine } from './sarus.js'
import { shifterEngine } from './shifter.js'

export const ENGINES: readonly Engine[] = [
  nativeEngine,
  crunEngine,
  charliecloudEngine,
  runcEngine,
  podmanEngine,
  podmanHpcEngine,
  enrootEngine,
  apptainerEngine,
  singularityEngine,
  shifterEngine,
  sarusEngine,
  dockerEngine,
]

export function engineByName(name: string, engines: readonly Engine[] = ENGINES): Engine | undefined {
  return engines.find((engine) => engine.name === name)
}
