// SPDX-License-Identifier: Apache-2.0
/**
 * What `srun --x11` leaves on the node: a tunnel on a port of the loopback device, which DISPLAY names, and the cookie that
 * opens it, in a file below TmpFS, which XAUTHORITY names and a private /tmp would hide (slurm.conf(5), X11Parameters).
 */
import { basename, isAbsolute } from 'node:path'
import { insideRoot } from './cwd.js'
import type { PlanInput } from './input.js'
import type { PlannedMount } from './spec.js'

/** slurmstepd's mkstemp(3): no other file comes in past what the site says of mounts. */
const COOKIE_NAME = /^\.Xauthority-\w{6}$/

/** Opened with the user's rights: the environment that names it is the user's. */
export function planX11({ step }: PlanInput): PlannedMount[] {
  const cookie = step.environment.get('XAUTHORITY') ?? ''
  if (!isAbsolute(cookie) || !COOKIE_NAME.test(basename(cookie))) return []
  return [
    {
      kind: 'bind',
      source: cookie,
      target: insideRoot(cookie),
      flags: ['ro', 'nosuid', 'nodev', 'noexec'],
      recursive: false,
      create: 'file',
      trusted: false,
      optional: true,
      replaceLink: false,
      reason: 'the cookie of the display',
      origin: 'XAUTHORITY',
    },
  ]
}
