// SPDX-License-Identifier: Apache-2.0
/** How the image's loader finds libraries that the node adds in directories of their own. */
import type { PlanInput } from './input.js'
import type { Reason } from './spec.js'
import type { VariableEdits } from './variables.js'

const NAME = 'LD_LIBRARY_PATH'
/** Searched by every glibc, or by that of Debian's family on this processor (ld.so(8)). */
const ALWAYS = ['/lib', '/usr/lib', '/lib64', '/usr/lib64']

/** Append: names that the image has itself stay the image's; prepend: they become the node's. @returns notes */
export function planLoader(
  input: PlanInput,
  variables: VariableEdits,
  directories: readonly string[],
  where: 'prepend' | 'append',
  why: Reason,
): string[] {
  const machine = input.host?.machine ?? ''
  const searched = new Set([...ALWAYS, `/lib/${machine}-linux-gnu`, `/usr/lib/${machine}-linux-gnu`])
  const missing = [...new Set(directories)].filter((directory) => !searched.has(directory))
  if (missing.length === 0) return []
  variables.extend(NAME, missing, where, why)
  return [`${why.reason}: ${NAME} leads to ${missing.join(', ')}`]
}
