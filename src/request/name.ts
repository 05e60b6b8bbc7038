// SPDX-License-Identifier: Apache-2.0
/** --container-name=NAME[:auto|create|exec|no_exec]; step_name.ts names the unnamed container of a running step. */
import { hasControl, optionProblem, showValue } from './problem.js'
import type { NameMode } from './request.js'

const MODES: readonly NameMode[] = ['auto', 'create', 'exec', 'no_exec']
const OPTION = 'container-name'
/** NAME_MAX is 255; "pyxis_", a job id and what the store adds must fit beside it. */
const NAME_BYTES_MAX = 200

/** @throws BERTH_EOPTION */
export function parseName(text: string): { name: string; mode: NameMode } {
  if (text === '') throw optionProblem(OPTION, 'argument required')
  const colon = text.indexOf(':')
  const name = colon < 0 ? text : text.slice(0, colon)
  const flag = (colon < 0 ? '' : text.slice(colon + 1)) || 'auto'
  if (name === '') throw optionProblem(OPTION, 'empty name')
  const mode = MODES.find((known) => known === flag)
  if (mode === undefined) {
    throw optionProblem(OPTION, `flag must be "auto", "create", "exec" or "no_exec": ${showValue(flag)}`)
  }
  if (name.includes('/') || name.startsWith('.') || hasControl(name)) {
    throw optionProblem(OPTION, `a name has no "/" and does not start with ".": ${showValue(name)}`)
  }
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw optionProblem(OPTION, `name is longer than ${NAME_BYTES_MAX} bytes: ${showValue(name)}`)
  }
  return { name, mode }
}
