// SPDX-License-Identifier: Apache-2.0
/** --container-env=NAME[,NAME…]: variables whose host value wins over the image's. */
import { hasControl, optionProblem, showValue } from './problem.js'

const OPTION = 'container-env'

/** @returns each name once, in order. @throws BERTH_EOPTION on an empty or impossible name. */
export function parseEnvironmentNames(text: string): string[] {
  if (text === '') throw optionProblem(OPTION, 'argument required')
  const names = text.split(',')
  for (const name of names) {
    if (name === '') throw optionProblem(OPTION, `invalid format: ${showValue(text)}`)
    if (name.includes('=') || hasControl(name)) {
      throw optionProblem(OPTION, `invalid format: a name has no "=": ${showValue(name)}`)
    }
  }
  return [...new Set(names)]
}
