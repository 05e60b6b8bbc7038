// SPDX-License-Identifier: Apache-2.0
/** The image's entrypoint before the command, and what it needs inside (docs/decisions/0008-owners-and-entrypoint.md). */
import { BERTH_DEFAULT, originOf, type PlanInput } from './input.js'
import type { PlannedMount } from './spec.js'

/** As RESUME_PROGRAM of slurm/resume.h. */
const RESUME_PROGRAM = '/.berth/exec'

/** Its words; none where it is not wanted or the image has none. */
export function entrypointOf({ request, site, image }: PlanInput): string[] {
  const wanted = request.entrypoint ?? site.get('container_entrypoint')
  return wanted ? [...(image.stored?.config.entrypoint ?? [])] : []
}

/** What was asked for and cannot be had: nothing knows what else such a script would do. */
export function warnOfScript({ request, image }: PlanInput): string[] {
  const script = image.stored?.config.script
  if (request.entrypoint !== true || script === undefined) return []
  return [
    `--container-entrypoint has no effect: the image's ${script} is not as enroot writes it, and is not run`,
  ]
}

/** What the entrypoint executes in the end is the launcher again, which becomes the command. */
export function planEntrypointMounts(input: PlanInput): PlannedMount[] {
  const { launcher, request, site } = input
  if (launcher === undefined || entrypointOf(input).length === 0) return []
  return [
    {
      kind: 'bind',
      source: launcher,
      target: RESUME_PROGRAM,
      flags: ['ro', 'nosuid', 'nodev'],
      recursive: false,
      create: 'file',
      trusted: true,
      optional: false,
      replaceLink: true,
      reason: 'gives the command its own environment and output after the entrypoint',
      origin: originOf(request, 'container-entrypoint', site.origin('container_entrypoint') || BERTH_DEFAULT),
    },
  ]
}
