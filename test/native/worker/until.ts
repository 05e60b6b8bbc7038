// SPDX-License-Identifier: Apache-2.0
/** Of things that take a second where nothing else runs. */
const WAIT_MS_MAX = 60_000

/** Waits for a condition; the message says for what. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_MS_MAX
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
