// SPDX-License-Identifier: Apache-2.0
/** --container-env=NAME[,NAME…]: variables whose host value wins over the image's. */
import { hasControl, optionProblem, showValue } from './problem.js'

const OPTION = 'container-env'

/**
 * A name with a value is a mistake that pyxis passes over, and that scripts are found with: it is told and left out.
 * @returns each name once, in order. @throws BERTH_EOPTION on an empty or impossible name.
 */
export function parseEnvironmentNames(text: string, warnings: string[]): string[] {
  if (text === '') throw optionProblem(OPTION, 'argument required')
  const names = text.split(',')
  for (const name of names) {
    if (name === '') throw optionProblem(OPTION, `invalid format: ${showValue(text)}`)
    if (hasControl(name)) throw optionProblem(OPTION, `invalid format: no name: ${showValue(name)}`)
    if (!name.includes('=')) continue
    const [bare = ''] = name.split('=')
    const advice = `it takes names, so put ${showValue(name)} before srun and write --${OPTION}=${showValue(bare)}`
    warnings.push(`ignoring ${showValue(name)} of --${OPTION}: ${advice}`)
  }
  return [...new Set(names.filter((name) => !name.includes('=')))]
}
