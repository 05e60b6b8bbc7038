// SPDX-License-Identifier: Apache-2.0
/** Programs beside the worker that work for users. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { Native } from '../native.js'

/**
 * As spawn(), and never throws: what could not be started fails with 'error', as one that is not there. Node throws where
 * no memory is left to fork (ENOMEM), which from a timer or an end's clean-up would end the worker.
 */
export function startProgram(
  native: Pick<Native, 'withoutForks'>,
  file: string,
  words: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  try {
    return native.withoutForks(() => spawn(file, words, options))
  } catch (error) {
    return unborn(error)
  }
}

/** Without streams, as what Node gives who has no descriptor left. */
function unborn(error: unknown): ChildProcess {
  const nothing = { kill: () => false, ref: () => undefined, unref: () => undefined }
  const child = Object.assign(new EventEmitter(), nothing)
  process.nextTick(() => child.emit('error', error))
  return child as unknown as ChildProcess
}

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
  const child = startProgram(native, file, words, options)
  try {
    if (child.pid !== undefined) writeFileSync(`/proc/${child.pid}/oom_score_adj`, '0')
  } catch {
    // It has ended already, or the worker is not root and spared nobody.
  }
  return child
}
