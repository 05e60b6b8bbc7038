// SPDX-License-Identifier: Apache-2.0
/** Where lines of the log go: stderr, which is the journal, or a file that the keeper has opened to append to. */
import { copyFileSync, fstatSync, ftruncateSync, rmSync, statSync, writeSync } from 'node:fs'

const STDERR_FD = 2
/** As for the keeper (LOG_BYTES_MAX of slurm/detach.c), which looks only when it starts; runtime_dir is memory. */
const LOG_BYTES_MAX = 16 << 20

/** A disk that is full costs the line; a stream would throw where nobody catches, and say nothing ever after. */
export function toStderr(line: string): void {
  try {
    writeSync(STDERR_FD, line)
  } catch {
    // There is nobody to tell.
  }
}

/** Where stderr is that file, what it has grown to moves to FILE.old, and it starts anew. */
export function toBoundedFile(path: string): (line: string) => void {
  return (line) => {
    toStderr(line)
    try {
      if (isTooLarge(path)) startAnew(path)
    } catch {
      // One that may only be appended to, or a disk that errs: its bound is lost, and no step for it.
    }
  }
}

function isTooLarge(path: string): boolean {
  const { size, ino, dev } = fstatSync(STDERR_FD)
  if (size <= LOG_BYTES_MAX) return false
  const there = statSync(path, { throwIfNoEntry: false })
  return there?.ino === ino && there.dev === dev
}

/** Keeper and importers have it open too: it stays the same file. */
function startAnew(path: string): void {
  try {
    copyFileSync(path, `${path}.old`)
  } catch {
    rmSync(`${path}.old`, { force: true })
  }
  ftruncateSync(STDERR_FD)
}
