// SPDX-License-Identifier: Apache-2.0
/**
 * What root may look at from where a task stands. Only a mount namespace that root has made qualifies: in a user
 * namespace of their own users mount what they like, and a file server of theirs lets a look at it wait for ever.
 */
import { closeSync, openSync, readlinkSync } from 'node:fs'

/** O_PATH of open(2), which node:fs has no name for: nothing is asked of a file server. */
const O_PATH = 0o10000000

interface TaskRoot {
  /** To be put before absolute paths; '' for the worker's own. */
  path: string
  close(): void
}

const OWN: TaskRoot = { path: '', close: () => undefined }

/** The root of the process, else the worker's own: where it is gone, or in a user namespace that is not the worker's. */
export function openTaskRoot(pid: number | undefined): TaskRoot {
  if (pid === undefined) return OWN
  const fds: number[] = []
  const open = (path: string): string => {
    const fd = openSync(path, O_PATH)
    fds.push(fd)
    return `/proc/${process.pid}/fd/${fd}`
  }
  const close = () => {
    for (const fd of fds) closeSync(fd)
  }
  try {
    // All by one descriptor: the number may be another process by now. Nobody enters the worker's user namespace from
    // one below it, so one look after the root was opened tells of the time before, too (setns(2)).
    const task = open(`/proc/${pid}`)
    const path = open(`${task}/root`)
    if (readlinkSync(`${task}/ns/user`) === readlinkSync('/proc/self/ns/user')) return { path, close }
  } catch {
    // It has ended.
  }
  close()
  return OWN
}
