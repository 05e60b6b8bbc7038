// SPDX-License-Identifier: Apache-2.0
/** --container-unshare=LIST: namespaces of its own for the container, one for all tasks of the step on a node. */
import { optionProblem, showValue } from './problem.js'
import type { Namespace } from './request.js'

const OPTION = 'container-unshare'
/** Also the order in which they are made. */
const NAMESPACES: readonly Namespace[] = ['net', 'ipc', 'uts', 'pid']

/** @throws BERTH_EOPTION */
export function parseUnshare(text: string): Namespace[] {
  if (text === '') throw optionProblem(OPTION, 'argument required')
  const asked = text.split(',')
  for (const name of asked) {
    if (!NAMESPACES.some((known) => known === name)) {
      throw optionProblem(OPTION, `unknown namespace '${showValue(name)}' (known: ${NAMESPACES.join(', ')})`)
    }
  }
  return NAMESPACES.filter((known) => asked.includes(known))
}
