// SPDX-License-Identifier: Apache-2.0
/**
 * OCI hook files of a profile: whether each would run for this step (oci-hooks.5 of containers/common), and since
 * berth runs no program of the site as root inside a container, what that means for the step.
 */
import type { Profile } from '../site/profile.js'
import type { HookFile } from './accelerators.js'
import { entrypointOf } from './entrypoint.js'
import type { PlanInput } from './input.js'
import { problemOf } from './profile_choice.js'

/** @returns notes. @throws BERTH_EPROFILE for a hook that would run, where the site does not say to go without */
export function planHooks(input: PlanInput, profile: Profile): string[] {
  const notes: string[] = []
  for (const directory of profile.hooks) {
    for (const hook of input.host?.accelerators?.hooks.get(directory) ?? []) {
      if (hook.problem !== undefined) throw problemOf(profile, `${hook.file}: ${hook.problem}`)
      if (!applies(hook, input)) {
        notes.push(`hook ${hook.file} does not apply to this step`)
        continue
      }
      const policy = input.site.get('cdi_hooks')
      const said = `${hook.file}: ${hook.path} is not run (cdi_hooks, ${input.site.origin('cdi_hooks')})`
      if (policy === 'refuse') throw problemOf(profile, said)
      notes.push(said)
    }
  }
  return notes
}

/** Any of the conditions that are given, as podman and CRI-O decide. */
export function applies({ when }: HookFile, input: PlanInput): boolean {
  if (when.always === true) return true
  if (when.hasBindMounts === true && input.request.mounts.some(({ kind }) => kind === 'bind')) return true
  const [command = ''] = entrypointOf(input)
  if (when.commands.some((pattern) => matches(pattern, command))) return true
  const labels = Object.entries(input.image.stored?.config.labels ?? {})
  return Object.entries(when.annotations).some(([name, value]) =>
    labels.some(([label, text]) => matches(name, label) && matches(value, text)),
  )
}

/** The site's own pattern; one that cannot be read matches, so that nothing is left out in silence. */
function matches(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern).test(text)
  } catch {
    return true
  }
}
