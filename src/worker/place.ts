// SPDX-License-Identifier: Apache-2.0
/** Where a step's tasks live: directory and namespaces as root announced them with the first task, or found again. */
import { closeSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { native } from '../native.js'
import type { Reopen, StepPlace } from '../step.js'
import { type Frame, Tag } from './frame.js'
import type { LeasePlace, LeaseTask } from './leases.js'

/** A place and what a lease remembers of it. */
export interface TaskPlace extends StepPlace {
  known: LeasePlace
}

/** Descriptors of a TASK frame, in this order; what is the worker's own is not kept. */
const ROLES = ['mnt', 'user'] as const
/** A launcher's environment is bounded by execve(2); what is larger is not one. */
const ENVIRONMENT_BYTES_MAX = 8 << 20
/** It is memory that is read; also of a process that is swapped out. */
const READ_MS_MAX = 10_000

/** Takes the descriptors of the frame. */
export function takePlace(frame: Frame): TaskPlace {
  const open: (number | undefined)[] = frame.fds.splice(0)
  const ids: Record<string, string> = {}
  for (const [index, name] of ROLES.entries()) {
    const fd = open[index]
    if (fd === undefined) continue
    const id = native.namespaceId(fd)
    if (id !== ownId(name)) ids[name] = id
    else {
      native.closeFd(fd)
      open[index] = undefined
    }
  }
  const fds = { mnt: open[0], user: open[1] }
  return placeOf({ cwd: frame.text(Tag.CWD) ?? '/', ids }, fds, () => {
    for (const fd of open.splice(0)) if (fd !== undefined) native.closeFd(fd)
  })
}

/** The worker's own namespaces. */
export function workerPlace(cwd: string): TaskPlace {
  return placeOf({ cwd, ids: {} }, {}, () => undefined)
}

/** After a worker's crash: the same namespaces, from a task that has not joined the container yet. */
export function reopenPlace(
  known: LeasePlace,
  tasks: readonly LeaseTask[],
  reopen: Reopen,
): TaskPlace | undefined {
  if (Object.keys(known.ids).length === 0) return workerPlace(known.cwd)
  for (const task of tasks) {
    const found = reopen(known.ids, task)
    if (found === undefined) continue
    const fds = Object.fromEntries(found.fds.map(({ name, fd }) => [name, fd]))
    return placeOf(known, fds, () => {
      for (const { fd } of found.fds.splice(0)) native.closeFd(fd)
    })
  }
  return undefined
}

/** Readings that are under way, by pid: one that waits for a process for ever is not begun again. */
const readings = new Map<number, Promise<Buffer | undefined>>()

/**
 * The environment a launcher was started with (proc(5)); undefined when it is gone, or when its memory cannot be looked at
 * in time: a process with a FUSE server of its own can see to that, and nothing of the worker's may wait for it.
 */
export async function environmentOf(pid: number): Promise<ReadonlyMap<string, string> | undefined> {
  const late = new AbortController()
  const timeout = sleep(READ_MS_MAX, undefined, { signal: late.signal }).catch(() => undefined)
  const bytes = await Promise.race([reading(pid), timeout])
  late.abort()
  const entries = bytes?.toString('utf8').split('\0')
  if (entries === undefined) return undefined
  return new Map(entries.filter((entry) => entry.indexOf('=') > 0).map(splitEntry))
}

function reading(pid: number): Promise<Buffer | undefined> {
  const known = readings.get(pid)
  if (known !== undefined) return known
  const begun = read(pid).finally(() => readings.delete(pid))
  readings.set(pid, begun)
  return begun
}

async function read(pid: number): Promise<Buffer | undefined> {
  try {
    return await native.readEnvironment(pid, ENVIRONMENT_BYTES_MAX)
  } catch {
    return undefined
  }
}

function splitEntry(entry: string): [string, string] {
  const equals = entry.indexOf('=')
  return [entry.slice(0, equals), entry.slice(equals + 1)]
}

function placeOf(
  known: LeasePlace,
  fds: { mnt?: number | undefined; user?: number | undefined },
  close: () => void,
): TaskPlace {
  return {
    known,
    cwd: known.cwd,
    ...(fds.mnt === undefined ? {} : { mountNs: fds.mnt }),
    ...(fds.user === undefined ? {} : { userNs: fds.user }),
    close,
  }
}

const ownIds = new Map<string, string>()

function ownId(name: string): string {
  const known = ownIds.get(name)
  if (known !== undefined) return known
  const fd = openSync(`/proc/self/ns/${name}`, 'r')
  try {
    const id = native.namespaceId(fd)
    ownIds.set(name, id)
    return id
  } finally {
    closeSync(fd)
  }
}
