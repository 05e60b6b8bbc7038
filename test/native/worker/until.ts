// SPDX-License-Identifier: Apache-2.0
import { until as untilWithin } from '../../cluster/command.js'

/** Of things that take a second where nothing else runs. */
const WAIT_MS_MAX = 60_000
/** Between the first looks: they read files. */
const PAUSE_MS_MIN = 10

/** Waits for a condition; the message says for what. */
export function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  return untilWithin(what, holds, WAIT_MS_MAX, PAUSE_MS_MIN)
}
