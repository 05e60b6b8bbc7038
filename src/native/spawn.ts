// SPDX-License-Identifier: Apache-2.0
/** Programs beside the worker that work for users. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { Native } from '../native.js'

/**
 * The kernel spares the worker when memory runs out (OOMScoreAdjust= of its unit), and none that reads what users made:
 * such a child counts like anybody. Root says it, so that the child cannot take it back.
 */
export function spawnOrdinary(
  native: Pick<Native, 'withoutForks'>,
  file: string,
  words: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  const child = native.withoutForks(() => spawn(file, words, options))
  try {
    if (child.pid !== undefined) writeFileSync(`/proc/${child.pid}/oom_score_adj`, '0')
  } catch {
    // It has ended already, or the worker is not root and spared nobody.
  }
  return child
}
