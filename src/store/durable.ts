// SPDX-License-Identifier: Apache-2.0
import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs'

/** A file that holds its text also when the power ends, before it gets the name by which it is found. */
export function writeDurably(path: string, text: string): void {
  const fd = openSync(path, 'w', 0o600)
  try {
    // All of it, or an error: one write may end early on a disk that is nearly full.
    writeFileSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
