// SPDX-License-Identifier: Apache-2.0
/** The namespaces of one step: built once, found again after a worker's crash, handed to every task. */
import { close, openSync, readlinkSync } from 'node:fs'
import { type BuiltNamespace, type MadeEntry, type NamespaceSpec, native } from '../native.js'

/** Names as in /proc/PID/ns, in the order of setns: the user namespace grants the others (setns(2)). */
const NAMESPACE_ORDER = ['user', 'mnt', 'ipc', 'uts', 'net', 'pid'] as const
type NamespaceName = (typeof NAMESPACE_ORDER)[number]

/** CLONE_NEW* of linux/sched.h. */
export const CLONE_FLAG: Readonly<Record<NamespaceName, number>> = {
  user: 0x10000000,
  mnt: 0x00020000,
  ipc: 0x08000000,
  uts: 0x04000000,
  net: 0x40000000,
  pid: 0x20000000,
}

/** A launcher stays out of the pid namespace that it has joined: only its children are in it (setns(2)). */
const LINKS: Readonly<Partial<Record<NamespaceName, string>>> = { pid: 'pid_for_children' }

export interface Namespaces {
  fds: { name: NamespaceName; fd: number }[]
  /** Inode number by name; kept in the lease. */
  ids: Record<string, string>
  notes: string[]
  /** With keepUpper, from the build alone: the upper directory, and what the build put there. */
  upper?: number
  made?: MadeEntry[]
  /** Of a pid namespace that this worker has made: its first process lives while somebody holds the lease. */
  lease?: number
  /** The first process, until it is where the tasks are. */
  first?: number
  /** "K=V" that the engine has made for whoever lives there. */
  engineVariables?: string[]
  /** Of a root that others may use too; whoever built it takes it over. */
  rootNs?: number
}

/** @throws NativeError */
export async function buildNamespaces(spec: NamespaceSpec): Promise<Namespaces> {
  const built = await native.buildNamespace(spec)
  const { upper, made, rootNs, lease, first } = built
  return {
    ...describe(ordered(built), built.notes),
    ...(upper === undefined ? {} : { upper }),
    ...(spec.keepUpper === true ? { made } : {}),
    ...(rootNs === undefined ? {} : { rootNs }),
    ...(lease === undefined || first === undefined ? {} : { lease, first }),
  }
}

/** Never on the loop: the last one out waits for the file system that was written to. */
export function closeNamespaces(namespaces: Namespaces): void {
  endProcesses(namespaces)
  const { fds, upper } = namespaces
  delete namespaces.upper
  for (const fd of [...fds.splice(0).map((one) => one.fd), upper])
    if (fd !== undefined) close(fd, () => undefined)
}

/** All that is left in a pid namespace of the container's own. */
export function endProcesses(namespaces: Namespaces): void {
  if (namespaces.lease !== undefined) native.endLease(namespaces.lease)
  delete namespaces.lease
}

/**
 * The first process belongs to the step: what ends, stops or limits the step's processes does so with it too, and no
 * restart of the worker's service ends it. Once the first task is in the step's cgroups.
 */
export function settleFirst(namespaces: Namespaces, task: number): void {
  const { first, ids } = namespaces
  delete namespaces.first
  if (first === undefined) return
  // Where there are no cgroups, or the task has gone, it stays the worker's, and ends with the lease all the same.
  const stay = () => undefined
  try {
    const own = readlinkSync(`/proc/${first}/ns/pid`) === `pid:[${ids.pid}]`
    if (own) native.shareCgroups(first, task).catch(stay)
  } catch {
    stay()
  }
}

/**
 * Opens the namespaces that `ids` names from a process that still lives in them; undefined when it is gone or never
 * joined. The inode of the mount namespace decides: it cannot be reused while that process is inside.
 */
export function reopenNamespaces(
  ids: Record<string, string>,
  pid: number,
  start: number,
): Namespaces | undefined {
  const fds: Namespaces['fds'] = []
  try {
    for (const name of NAMESPACE_ORDER) {
      if (ids[name] === undefined) continue
      if (!isIn(pid, name, ids[name])) throw new Error('not joined')
      fds.push({ name, fd: openSync(`/proc/${pid}/ns/${LINKS[name] ?? name}`, 'r') })
    }
    const found = describe(fds, [])
    const unchanged =
      native.processStart(pid) === start && Object.keys(ids).every((name) => found.ids[name] === ids[name])
    if (unchanged && fds.length > 0) return found
  } catch {
    // The process ended or never joined: the caller tries the next one.
  }
  for (const { fd } of fds) native.closeFd(fd)
  return undefined
}

/** @throws Error when the process is gone */
function isIn(pid: number, name: NamespaceName, id: string | undefined): boolean {
  return readlinkSync(`/proc/${pid}/ns/${LINKS[name] ?? name}`) === `${name}:[${id}]`
}

function ordered(built: BuiltNamespace): Namespaces['fds'] {
  const byName: Record<NamespaceName, number | undefined> = {
    user: built.userNs,
    mnt: built.mountNs,
    ipc: built.ipcNs,
    uts: built.utsNs,
    net: built.netNs,
    pid: built.pidNs,
  }
  return NAMESPACE_ORDER.flatMap((name) => {
    const fd = byName[name]
    return fd === undefined ? [] : [{ name, fd }]
  })
}

function describe(fds: Namespaces['fds'], notes: string[]): Namespaces {
  return {
    fds,
    ids: Object.fromEntries(fds.map(({ name, fd }) => [name, String(native.namespaceId(fd))])),
    notes,
  }
}
