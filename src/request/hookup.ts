// SPDX-License-Identifier: Apache-2.0
/** --container-device, --container-mpi and --container-profile: names that later rooms look up. */
import { optionProblem, showValue } from './problem.js'
import type { MpiMode } from './request.js'

/** vendor.com/class=name, CDI 1.1.0 (cncf-tags/container-device-interface SPEC.md, "kind" and "name"). */
const DEVICE = /^[A-Za-z][\w.-]*\/[A-Za-z][\w.-]*=[A-Za-z0-9][\w.:-]*$/
/** A device node of the host, as it is. */
const NODE = /^\/dev\/(?!(.*\/)?\.\.(\/|$))[\w./:-]+$/
const MPI_MODES = ['auto', 'host', 'image', 'off'] as const satisfies readonly MpiMode[]
const WORD = /^[A-Za-z0-9][\w.-]{0,63}$/

/** @throws BERTH_EOPTION */
export function parseDevices(text: string): string[] {
  return checkWords('container-device', text.split(','), new RegExp(`${DEVICE.source}|${NODE.source}`))
}

/** @throws BERTH_EOPTION */
export function parseProfiles(text: string): string[] {
  return checkWords('container-profile', text.split(','), WORD)
}

/** @throws BERTH_EOPTION */
export function parseMpi(text: string): MpiMode {
  const mode = MPI_MODES.find((one) => one === text)
  if (text === '') throw optionProblem('container-mpi', 'argument required')
  if (mode === undefined)
    throw optionProblem('container-mpi', `must be "auto", "host", "image" or "off": ${showValue(text)}`)
  return mode
}

/** @returns each word once */
function checkWords(option: string, words: readonly string[], grammar: RegExp): string[] {
  if (words.join('') === '') throw optionProblem(option, 'argument required')
  for (const word of words) {
    if (!grammar.test(word)) throw optionProblem(option, `invalid format: ${showValue(word)}`)
  }
  return [...new Set(words)]
}
