// SPDX-License-Identifier: Apache-2.0
/** The user's home inside: where it is mounted from and to, and what HOME says (as enroot has it). */
import { isAbsolute } from 'node:path'
import { insideRoot } from './cwd.js'
import { BERTH_DEFAULT, originOf, type PlanInput } from './input.js'
import type { PlannedMount, PlannedVariable, Reason } from './spec.js'
import { shellInside } from './user.js'

const HOME_OF_ROOT = '/root'
/** As of login.defs(5) and useradd(8): nobody else's to look into. */
const HOME_MODE = 0o700

/** From the step's HOME, as pyxis; at /root where the user appears as root. Undefined where it is not mounted. */
export function mountedHome(input: PlanInput): ({ source: string; target: string } & Reason) | undefined {
  const { request, site, user, step } = input
  if (!(request.mountHome ?? site.get('container_mount_home'))) return undefined
  const named = step.environment.get('HOME') ?? ''
  const source = isAbsolute(named) ? named : user.home
  const origin = originOf(request, 'container-mount-home', site.origin('container_mount_home'))
  const target = appearsAsRoot(input) ? HOME_OF_ROOT : insideRoot(source)
  return { source, target, reason: "the user's home", origin }
}

/**
 * The directory that the user's account names is there, also where no home is mounted: programs make files in it, or
 * with a read-only root see that it is empty.
 */
export function planHomeDirectory(input: PlanInput): PlannedMount[] {
  const target = appearsAsRoot(input) ? HOME_OF_ROOT : insideRoot(input.user.home)
  if (target === '/') return []
  const reason = "the user's home, where the image has none"
  return [{ kind: 'dir', target, mode: HOME_MODE, optional: true, reason, origin: BERTH_DEFAULT }]
}

/** Over the image's own where the user is root or has the home mounted: programs look there for it. */
export function planHomeVariable(input: PlanInput): PlannedVariable | undefined {
  const { request, site } = input
  if (appearsAsRoot(input)) {
    const origin = originOf(request, 'container-remap-root', site.origin('container_remap_root'))
    return { name: 'HOME', action: 'set', value: HOME_OF_ROOT, reason: 'user appears as root', origin }
  }
  const home = mountedHome(input)
  if (home === undefined) return undefined
  const { target, origin } = home
  return { name: 'HOME', action: 'set', value: target, reason: 'where the home is mounted', origin }
}

/** What a login would set, for a task that comes with nothing (srun --export=NONE): never over anything else. */
export function planLoginVariables(input: PlanInput): PlannedVariable[] {
  const { user, image } = input
  const isRoot = appearsAsRoot(input)
  const values = {
    HOME: isRoot ? HOME_OF_ROOT : user.home,
    USER: isRoot ? 'root' : user.name,
    LOGNAME: user.name,
    SHELL: shellInside(image.stored?.passwd ?? ''),
    TERM: 'dumb',
  }
  return Object.entries(values).map(
    ([name, value]): PlannedVariable => ({
      ...{ name, action: 'default', value },
      reason: 'as after a login, where nothing sets it',
      origin: BERTH_DEFAULT,
    }),
  )
}

function appearsAsRoot({ request, site }: PlanInput): boolean {
  return request.remapRoot ?? site.get('container_remap_root')
}
