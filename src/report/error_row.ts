// SPDX-License-Identifier: Apache-2.0
/** How a failure is written down: no capital in front, no stop at the end, {fields}. */

/** text: what failed on which object; hint: what to do next; exit: the launcher's code, the CLI's is 1 or 2. */
export interface ErrorRow {
  text: string
  hint: string
  exit: number
}

/** berth itself failed, not the program; docker's and podman's number for it. */
export const FAILED = 125
