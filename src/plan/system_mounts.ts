// SPDX-License-Identifier: Apache-2.0
/** What every container has without asking, as users of pyxis and enroot know it, and the site's own mounts. */
import { parseMounts } from '../request/mounts.js'
import { insideRoot } from './cwd.js'
import { planHomeDirectory } from './home.js'
import { BERTH_DEFAULT, originOf, type PlanInput } from './input.js'
import { planOwnDevices, planOwnQueues } from './own_devices.js'
import type { PlannedMount } from './spec.js'
import { planGroup, planPasswd } from './user.js'
import { planRequestedMount } from './user_mounts.js'
import { plainIfWritable } from './writable.js'
import { planX11 } from './x11.js'

/** Files that tell a program about the host it is on. */
const HOST_FILES: readonly (readonly [string, string])[] = [
  ['/etc/resolv.conf', "host's resolver"],
  ['/etc/hosts', "host's table of names"],
  ['/etc/hostname', "host's name"],
  ['/etc/machine-id', "host's identity, which D-Bus and MPI libraries read"],
]
const TIME_ZONE = '/etc/localtime'
/** World-writable with the sticky bit, like the host's /tmp: the user's id owns it, but shared code checks the mode. */
const TEMPORARY_MODE = 0o1777
const FILE_MODE = 0o644
const text = new TextEncoder()

export function planSystemMounts(input: PlanInput): PlannedMount[] {
  return [
    processes(input),
    hostTree('/sys', ['ro'], 'devices and topology'),
    ...(planOwnDevices(input) ?? [
      hostTree('/dev', ['nosuid', 'noexec'], 'devices, limited by the cgroup of the task'),
    ]),
    sharedMemory(input),
    ...planOwnQueues(input),
    ...temporaryDirectories(input),
    ...HOST_FILES.map(([path, reason]) => hostFile(path, reason)),
    // tzdata renames a new file over it, which no mount point allows.
    { ...hostFile(TIME_ZONE, "host's time zone"), ...plainIfWritable(input) },
    ...accounts(input),
    ...planHomeDirectory(input),
    ...aptSandbox(input),
    ...batchScript(input),
    ...planX11(input),
  ]
}

/** Sources are opened with the user's rights too: a site mount shows nobody what they could not read outside. */
export function planSiteMounts({
  site,
  user,
  step,
}: {
  site: PlanInput['site']
  user: Pick<PlanInput['user'], 'name' | 'uid' | 'gid'>
  step: Pick<PlanInput['step'], 'job'>
}): PlannedMount[] {
  const mounts = site.get('mounts')
  if (mounts === '') return []
  const variables = new Map([
    ['USER', user.name],
    ['UID', String(user.uid)],
    ['JOB', String(step.job)],
  ])
  const origin = site.origin('mounts')
  return parseMounts(mounts, variables, 'mounts').map((mount) =>
    planRequestedMount(mount, { cwd: '/', user, reason: 'mounted for all', origin }),
  )
}

function processes({ request }: PlanInput): PlannedMount {
  if (!request.unshare.includes('pid'))
    return hostTree('/proc', [], 'processes of the job, for scancel, debuggers and CMA between ranks')
  const origin = originOf(request, 'container-unshare', BERTH_DEFAULT)
  return { kind: 'proc', target: '/proc', reason: 'part of the pid namespace', origin }
}

function hostTree(path: string, flags: string[], reason: string): PlannedMount {
  return {
    kind: 'bind',
    source: path,
    target: path,
    flags,
    recursive: true,
    create: 'dir',
    trusted: true,
    optional: false,
    replaceLink: false,
    reason,
    origin: BERTH_DEFAULT,
  }
}

/** Ranks on a node meet here, so it is the host's, unless a size was asked for. */
function sharedMemory({ request, user }: PlanInput): PlannedMount {
  const target = '/dev/shm'
  if (request.shmSize !== undefined) {
    const origin = originOf(request, 'container-shm-size', BERTH_DEFAULT)
    return {
      ...freshTmpfs(target, user, 'shared memory of this size', origin),
      options: sized(user, request.shmSize),
    }
  }
  if (request.unshare.includes('ipc')) {
    const origin = originOf(request, 'container-unshare', BERTH_DEFAULT)
    return freshTmpfs(target, user, 'part of the ipc namespace', origin)
  }
  return hostTree(target, ['nosuid', 'nodev'], 'shared memory between ranks of a node')
}

/**
 * /var/run and /var/lock are links to /run in nearly every image: mounted first, so that where they are links the
 * final /run covers what they led to, and where they are directories they are writable as under enroot.
 */
function temporaryDirectories({ user }: PlanInput): PlannedMount[] {
  const fresh = (target: string, reason: string): PlannedMount =>
    freshTmpfs(target, user, reason, BERTH_DEFAULT)
  return [
    fresh('/tmp', 'private temporary files'),
    fresh('/var/run', 'private runtime files, where the image has a directory'),
    fresh('/var/lock', 'private lock files, where the image has a directory'),
    fresh('/run', 'private runtime files'),
    { kind: 'dir', target: '/run/lock', mode: TEMPORARY_MODE, reason: 'lock files', origin: BERTH_DEFAULT },
  ]
}

function freshTmpfs(
  target: string,
  user: { uid: number; gid: number },
  reason: string,
  origin: string,
): PlannedMount & { kind: 'tmpfs' } {
  const flags = ['nosuid', 'nodev']
  return { kind: 'tmpfs', target, options: owned(user), flags, mode: TEMPORARY_MODE, reason, origin }
}

function owned(user: { uid: number; gid: number }): string {
  return `uid=${user.uid},gid=${user.gid}`
}

function sized(user: { uid: number; gid: number }, size: string): string {
  return `${owned(user)},size=${size}`
}

function hostFile(path: string, reason: string): PlannedMount & { kind: 'bind' } {
  return {
    kind: 'bind',
    source: path,
    target: path,
    flags: ['ro', 'nosuid', 'nodev', 'noexec'],
    recursive: false,
    create: 'file',
    trusted: true,
    optional: true,
    replaceLink: true,
    reason,
    origin: BERTH_DEFAULT,
  }
}

function accounts(input: PlanInput): PlannedMount[] {
  const { request, site, user, image } = input
  const remapRoot = request.remapRoot ?? site.get('container_remap_root')
  const file = (target: string, content: string): PlannedMount => ({
    kind: 'file',
    target,
    content: text.encode(content),
    mode: FILE_MODE,
    replaceLink: true,
    // useradd(8) renames a new file over the old one, which no mount point allows.
    ...plainIfWritable(input),
    reason: "the user's entries before the image's",
    origin: BERTH_DEFAULT,
  })
  return [
    file('/etc/passwd', planPasswd(user, image.stored?.passwd ?? '', remapRoot)),
    file('/etc/group', planGroup(user, image.stored?.group ?? '', remapRoot)),
  ]
}

/** Without an account to change to, apt stays who it is, and says nothing about it; it may not be apt's image at all. */
function aptSandbox({ request, site }: PlanInput): PlannedMount[] {
  if (!(request.remapRoot ?? site.get('container_remap_root'))) return []
  return [
    {
      kind: 'file',
      target: '/etc/apt/apt.conf.d/99berth',
      content: text.encode('APT::Sandbox::User "root";\n'),
      mode: FILE_MODE,
      replaceLink: true,
      optional: true,
      reason: "apt's own account cannot be had with one mapped id",
      origin: originOf(request, 'container-remap-root', site.origin('container_remap_root')),
    },
  ]
}

/** slurmstepd starts the script by its path in the spool directory, which the image does not have. */
function batchScript({ step }: PlanInput): PlannedMount[] {
  if (step.script === undefined) return []
  return [
    {
      kind: 'bind',
      source: step.script,
      target: insideRoot(step.script),
      flags: ['ro', 'nosuid', 'nodev'],
      recursive: false,
      create: 'file',
      trusted: false,
      optional: false,
      replaceLink: false,
      reason: 'the batch script at its own path',
      origin: 'sbatch',
    },
  ]
}
