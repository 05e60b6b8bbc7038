// SPDX-License-Identifier: Apache-2.0
/** Where the program starts: --container-workdir, else the mounted step directory, else the image's WorkingDir, else /. */
import { isAbsolute, posix } from 'node:path'
import type { Request } from '../request/request.js'
import { BERTH_DEFAULT, IMAGE_CONFIG, originOf, type PlanInput } from './input.js'
import type { PlannedMount, Reason } from './spec.js'
import { isWritable } from './writable.js'

const DIRECTORY_MODE = 0o755

export function planCwd({ request, image, step }: PlanInput): { cwd: string; cwdReason: Reason } {
  if (request.workdir !== undefined) {
    const origin = originOf(request, 'container-workdir', BERTH_DEFAULT)
    return { cwd: insideRoot(request.workdir), cwdReason: { reason: 'asked for', origin } }
  }
  if (request.mountCwd === true) {
    const origin = originOf(request, 'container-mount-cwd', BERTH_DEFAULT)
    return { cwd: step.cwd, cwdReason: { reason: "step's directory, mounted", origin } }
  }
  const workdir = image.stored?.config.workdir ?? ''
  if (workdir !== '') {
    return {
      cwd: insideRoot(workdir),
      cwdReason: { reason: 'WorkingDir of the image', origin: IMAGE_CONFIG },
    }
  }
  return { cwd: '/', cwdReason: { reason: 'no working directory named', origin: BERTH_DEFAULT } }
}

/** Image builders record a directory that no layer makes; pyxis' users and docker's find it there. */
export function planCwdDirectory({ request, image }: PlanInput): PlannedMount[] {
  const workdir = insideRoot(image.stored?.config.workdir ?? '')
  if (request.workdir !== undefined || request.mountCwd === true || workdir === '/') return []
  const reason = 'WorkingDir of the image, where its layers lack it'
  return [
    { kind: 'dir', target: workdir, mode: DIRECTORY_MODE, optional: true, reason, origin: IMAGE_CONFIG },
  ]
}

/** Programs of the image make no directory of a VOLUME themselves, and write there whatever the root is. */
export function planVolumes(input: PlanInput): PlannedMount[] {
  const paths = (input.image.stored?.config.volumes ?? []).map(insideRoot).filter((path) => path !== '/')
  const why = isWritable(input)
    ? { reason: 'VOLUME of the image, where its layers lack it' }
    : { reason: 'VOLUME of the image, writable though the root is not', writable: true }
  // Those above first: what is below them is writable with them.
  return paths.sort().map((target) => ({
    ...{ kind: 'dir', target, mode: DIRECTORY_MODE, optional: true, ...why, origin: IMAGE_CONFIG },
  }))
}

/** Whether the plan is another one where the step's directory on the host is. */
export function needsDirectory({ mountCwd, mounts }: Pick<Request, 'mountCwd' | 'mounts'>): boolean {
  return mountCwd === true || mounts.some((mount) => mount.kind === 'bind' && !isAbsolute(mount.source))
}

/** Absolute and without . and ..: like chdir in a changed root, ".." of / is /. */
export function insideRoot(path: string): string {
  const normal = posix.normalize(`/${path}`)
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal
}
