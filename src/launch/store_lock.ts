// SPDX-License-Identifier: Apache-2.0
/** One worker for each store: each takes what it finds there, half-made files and containers, for its own. */
import { constants, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { native } from '../native.js'
import { codeOf, messageOf } from '../report/errors.js'

const NAME = 'worker.lock'
const MODE = 0o600
/** A worker that was killed is gone when the kernel has closed its files, and a helper's that it had just forked. */
const WAIT_MS_MAX = 2000
const RETRY_MS = 10
const NO_SPACE: readonly string[] = ['ENOSPC', 'EDQUOT']

/**
 * From now on the store is this process's; the kernel ends that with the process, whatever ended it.
 * @returns the pid of who has it; undefined: nobody else
 * @throws the file system's error
 */
export async function lockStore(directory: string, log: (line: string) => void): Promise<string | undefined> {
  const path = join(directory, NAME)
  // Never closed. For reading only: who makes the file system read-only need not end the worker.
  const fd = openSync(path, constants.O_RDONLY | constants.O_CREAT | constants.O_NOFOLLOW, MODE)
  const end = performance.now() + WAIT_MS_MAX
  while (!lock(fd, directory, log)) {
    if (performance.now() > end) {
      const holder = readFileSync(path, 'utf8').trim()
      if (existsSync(`/proc/${holder}`)) return holder
      // A helper of its own that hangs, say on a file server that is gone, has the lock and touches nothing there.
      log(`store ${directory}: the worker with pid ${holder} has left its lock behind`)
      break
    }
    await sleep(RETRY_MS)
  }
  notePid(path, directory, log)
  return undefined
}

/** For the message of who comes second; on a disk that is full it is no reason to refuse steps of images that are there. */
function notePid(path: string, directory: string, log: (line: string) => void): void {
  try {
    writeFileSync(path, `${process.pid}\n`)
  } catch (error) {
    if (!NO_SPACE.includes(codeOf(error))) throw error
    log(`store ${directory}: ${messageOf(error)}: free space there: only images that are stored can be used`)
  }
}

/** A file system without locks is no reason to have no store. */
function lock(fd: number, directory: string, log: (line: string) => void): boolean {
  try {
    return native.lockFile(fd)
  } catch (error) {
    log(`store ${directory} cannot be locked against a second worker: ${messageOf(error)}`)
    return true
  }
}
