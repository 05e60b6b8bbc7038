// SPDX-License-Identifier: Apache-2.0
/** All mounts in the order in which they are made: berth's own, the node's, the site's, the user's. */
import { planCwdDirectory, planVolumes } from './cwd.js'
import { planEntrypointMounts } from './entrypoint.js'
import { planHookup } from './hookup.js'
import type { PlanInput } from './input.js'
import type { PlannedMount } from './spec.js'
import { planSiteMounts, planSystemMounts } from './system_mounts.js'
import { planUserMounts } from './user_mounts.js'

/** @throws BERTH_EMOUNTTARGET, BERTH_EOPTION, BERTH_EPOLICY */
export function planMounts(input: PlanInput, hookup = planHookup(input)): PlannedMount[] {
  const asked = [
    ...planSystemMounts(input),
    ...planVolumes(input),
    ...hookup.mounts,
    ...planEntrypointMounts(input),
    ...(input.request.siteMounts === false ? [] : planSiteMounts(input)),
    ...planUserMounts(input),
    ...planCwdDirectory(input),
  ]
  const mounts: PlannedMount[] = []
  for (const mount of asked) {
    if (mount.kind === 'umount') takeBack(mounts, mount)
    else mounts.push(mount)
  }
  return mounts
}

/** An umount: takes back what was planned there before; where nothing was, it stays a step for a mount below. */
function takeBack(mounts: PlannedMount[], umount: PlannedMount): void {
  const left = mounts.filter(({ target }) => target !== umount.target)
  if (left.length === mounts.length) mounts.push(umount)
  else mounts.splice(0, mounts.length, ...left)
}
