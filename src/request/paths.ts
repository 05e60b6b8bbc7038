// SPDX-License-Identifier: Apache-2.0
/** --container-workdir and --container-save: one path each. */
import { hasControl, optionProblem, showValue } from './problem.js'

/** PATH_MAX of Linux. */
const PATH_BYTES_MAX = 4096

/** A directory inside the container, absolute or relative to its root. @throws BERTH_EOPTION */
export function parseWorkdir(text: string): string {
  return checkPath('container-workdir', text)
}

/** The squashfs file to write, absolute or relative to the step's directory. @throws BERTH_EOPTION */
export function parseSave(text: string): string {
  const path = checkPath('container-save', text)
  if (/(^|\/)\.{0,2}$/.test(path)) {
    throw optionProblem('container-save', `target is a directory: ${showValue(path)}`)
  }
  return path
}

function checkPath(option: string, text: string): string {
  if (text === '') throw optionProblem(option, 'argument required')
  if (hasControl(text) || Buffer.byteLength(text) > PATH_BYTES_MAX) {
    throw optionProblem(option, `invalid format: ${showValue(text)}`)
  }
  return text
}
