// SPDX-License-Identifier: Apache-2.0
/** Of things that take a second where nothing else runs. */
const WAIT_MS_MAX = 60_000
/** Between two looks: looks cost a processor that what is waited for may need, so those of a long wait are rare. */
const PAUSE_MS_MIN = 10
const PAUSE_MS_MAX = 100
const PAUSE_SHARE = 1 / 10

/** Waits for a condition; the message says for what. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const began = Date.now()
  while (!(await holds())) {
    const waited = Date.now() - began
    if (waited > WAIT_MS_MAX) throw new Error(`waited in vain for ${what}`)
    const pause = Math.min(Math.max(waited * PAUSE_SHARE, PAUSE_MS_MIN), PAUSE_MS_MAX)
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}
