// SPDX-License-Identifier: Apache-2.0
/** All that a plan is made of: gathered by src/step.ts, so that planning itself touches nothing. */
import type { ImageFacts } from '../image/facts.js'
import type { StoredImage } from '../image/image.js'
import type { Request } from '../request/request.js'
import type { Site } from '../site/site.js'
import type { HostFacts } from './host.js'

export interface PlanUser {
  name: string
  uid: number
  gid: number
  home: string
  /** All groups, the primary one too; a name where the host knows it. */
  groups: readonly { gid: number; name?: string }[]
}

interface PlanStepFacts {
  /** step batch interactive run */
  context: string
  job: number
  step: number
  /** The step's directory on the host, absolute: relative sources start here. */
  cwd: string
  /**
   * The task's environment as the launcher has it (its /proc/PID/environ) where that is known: PMIx' directory is
   * set by slurmstepd only after the step was registered.
   */
  environment: ReadonlyMap<string, string>
  /** The batch script on the host. */
  script?: string
}

export interface PlanInput {
  request: Request
  /** stored is absent while nothing is imported, as for --container-explain of a cold image. */
  image: { reference: string; stored?: StoredImage; facts?: ImageFacts }
  /** Name of the engine that was picked. */
  engine: string
  site: Pick<Site, 'get' | 'origin'> & Partial<Pick<Site, 'profiles'>>
  user: PlanUser
  step: PlanStepFacts
  /** Path of berth-exec on the host; absent where no entrypoint can be run. */
  launcher?: string
  /** What is in the host's /dev, for a container that gets one of its own. */
  devices?: readonly HostDevice[]
  /** Absent: nothing of the node's is offered to the image. */
  host?: HostFacts
}

export interface HostDevice {
  name: string
  kind: 'node' | 'directory' | 'link'
  /** Of a link. */
  to?: string
}

/** Origin of what berth does without being asked. */
export const BERTH_DEFAULT = 'berth default'
export const IMAGE_CONFIG = 'image config'

/** Origin of an option that was given; `otherwise` when the site or a default decided. */
export function originOf(request: Request, option: string, otherwise: string): string {
  return request.origins[option] ?? otherwise
}
