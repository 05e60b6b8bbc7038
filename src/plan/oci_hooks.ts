// SPDX-License-Identifier: Apache-2.0
/** OCI hook files of a profile: whether each is for this step (oci-hooks.5 of containers/common), and what becomes of it. */
import type { Profile } from '../site/profile.js'
import type { HookFile } from './accelerators.js'
import { entrypointOf } from './entrypoint.js'
import { planHook, showHook } from './hooks.js'
import type { PlanInput } from './input.js'
import { problemOf } from './profile_choice.js'
import type { PlannedHook, Reason } from './spec.js'

/** @throws BERTH_EPROFILE for a hook that would run, where the site neither allows it nor says to go without */
export function planHookFiles(
  input: PlanInput,
  profile: Profile,
  why: Reason,
): { hooks: PlannedHook[]; notes: string[] } {
  const hooks: PlannedHook[] = []
  const notes: string[] = []
  for (const file of profile.hooks.flatMap((one) => input.host?.accelerators?.hooks.get(one) ?? [])) {
    if (file.problem !== undefined) throw problemOf(profile, `${file.file}: ${file.problem}`)
    if (!applies(file, input)) {
      notes.push(`hook ${file.file} does not apply to this step`)
      continue
    }
    for (const stage of file.stages) {
      const words = { ...file, stage }
      const planned = planHook(input, words, { ...why, reason: `${why.reason}: ${file.file}` })
      if (typeof planned !== 'string') {
        hooks.push(planned)
        continue
      }
      const origin = input.site.origin('cdi_hooks')
      const said = `${file.file}: ${showHook(words)} is not run (cdi_hooks, ${origin}): ${planned}`
      if (input.site.get('cdi_hooks') === 'refuse') throw problemOf(profile, said)
      notes.push(said)
    }
  }
  return { hooks, notes }
}

/** All of the conditions that are given, and at least one, as podman and CRI-O decide on files of version 1.0.0. */
function applies({ when }: HookFile, input: PlanInput): boolean {
  const verdicts: boolean[] = []
  if (when.always !== undefined) verdicts.push(when.always)
  if (when.hasBindMounts !== undefined)
    verdicts.push(when.hasBindMounts && input.request.mounts.some(({ kind }) => kind === 'bind'))
  if (when.commands.length > 0) {
    const [command = ''] = entrypointOf(input)
    verdicts.push(when.commands.some((pattern) => matches(pattern, command)))
  }
  const known = Object.entries({
    ...input.image.stored?.config.labels,
    ...input.request.annotations,
  })
  for (const [name, value] of Object.entries(when.annotations))
    verdicts.push(known.some(([key, text]) => matches(name, key) && matches(value, text)))
  return verdicts.length > 0 && verdicts.every((verdict) => verdict)
}

/** The site's own pattern; one that cannot be read matches, so that nothing is left out in silence. */
function matches(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern).test(text)
  } catch {
    return true
  }
}
