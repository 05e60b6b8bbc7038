// SPDX-License-Identifier: Apache-2.0
/** What the user asked to mount: the grammar's entries as steps, opened with the user's own rights. */
import { isAbsolute, posix, resolve } from 'node:path'
import { BerthError } from '../report/errors.js'
import { ATTRIBUTE_FLAGS, PROPAGATION_FLAGS } from '../request/mount_flags.js'
import type { MountRequest } from '../request/request.js'
import { insideRoot } from './cwd.js'
import { mountedHome } from './home.js'
import { BERTH_DEFAULT, originOf, type PlanInput } from './input.js'
import type { PlannedMount, Reason } from './spec.js'

interface Place extends Reason {
  /** Where relative sources start. */
  cwd: string
  user: { uid: number; gid: number }
}

/** Default mode of a tmpfs (tmpfs(5)), as enroot's users have it. */
const TMPFS_MODE = 0o1777
/** Accepted from enroot's users; a fresh bind is rw and exec anyway, and access times stay the host's. */
const WITHOUT_EFFECT = ['rw', 'exec', 'noatime', 'nodiratime', 'relatime', 'strictatime']

/** @throws BERTH_EMOUNTTARGET, BERTH_EOPTION, BERTH_EPOLICY */
export function planUserMounts(input: PlanInput): PlannedMount[] {
  const { request, step, user, site } = input
  const origin = originOf(request, 'container-mounts', BERTH_DEFAULT)
  const place: Place = { cwd: step.cwd, user, reason: 'asked for', origin }
  const mounts = [...planHome(input), ...planWorkingDirectory(input)]
  for (const mount of request.mounts) {
    const planned = planRequestedMount(mount, place)
    const denied = site.get('mounts_deny').find((path) => isBelow(planned.target, insideRoot(path)))
    if (denied !== undefined && planned.kind !== 'umount') {
      throw new BerthError('BERTH_EPOLICY', {
        what: `mounting over ${planned.target}`,
        key: 'mounts_deny',
        origin: site.origin('mounts_deny'),
      })
    }
    mounts.push(planned)
  }
  return mounts
}

/** @throws BERTH_EMOUNTTARGET for a target above the root, BERTH_EOPTION for the root itself */
export function planRequestedMount(mount: MountRequest, place: Place): PlannedMount {
  const target = resolveTarget(mount.target)
  const { reason, origin } = place
  if (mount.kind === 'umount') return { kind: 'umount', target, reason, origin }
  if (mount.kind === 'tmpfs') return planTmpfs(mount, target, place)
  return {
    kind: 'bind',
    source: isAbsolute(mount.source) ? mount.source : resolve(place.cwd, mount.source),
    target,
    flags: ['nosuid', ...attributesOf(mount.flags)],
    recursive: !mount.flags.includes('bind'),
    create: creationOf(mount.flags),
    trusted: false,
    optional: mount.flags.includes('nofail'),
    replaceLink: false,
    reason,
    origin,
  }
}

/**
 * An absolute target is taken inside the root, where ".." of / is /; a relative one may not climb out, and is refused
 * with the words of EXDEV that openat2(2) has for it, since scripts look for them.
 */
function resolveTarget(target: string): string {
  const normal = posix.normalize(target)
  if (!isAbsolute(target) && (normal === '..' || normal.startsWith('../'))) {
    throw new BerthError('BERTH_EMOUNTTARGET', { target })
  }
  const path = insideRoot(normal)
  if (path === '/') {
    throw new BerthError('BERTH_EOPTION', {
      option: 'container-mounts',
      problem: `the container's root cannot be mounted over: ${target}`,
      next: 'name a directory below it; --container-image=dir:DIRECTORY runs an unpacked root file system',
    })
  }
  return path
}

function planTmpfs(mount: MountRequest, target: string, { user, reason, origin }: Place): PlannedMount {
  const options = mount.flags.filter((flag) => !isMountFlag(flag) && !/^(mode=|x-)/.test(flag))
  const mode = mount.flags.find((flag) => flag.startsWith('mode='))?.slice('mode='.length)
  return {
    kind: 'tmpfs',
    target,
    options: [`uid=${user.uid}`, `gid=${user.gid}`, ...options].join(','),
    flags: ['nosuid', 'nodev', ...attributesOf(mount.flags)],
    mode: mode === undefined ? TMPFS_MODE : Number.parseInt(mode, 8),
    reason,
    origin,
  }
}

function isMountFlag(flag: string): boolean {
  return ATTRIBUTE_FLAGS.includes(flag) || PROPAGATION_FLAGS.includes(flag)
}

/** What is set on the mount. rprivate and private differ only in depth, which a bind's own recursion already says. */
function attributesOf(flags: readonly string[]): string[] {
  return flags
    .filter((flag) => isMountFlag(flag) && !WITHOUT_EFFECT.includes(flag))
    .map((flag) =>
      PROPAGATION_FLAGS.includes(flag) ? flag.replace(/^r(?=private|slave|shared|unbind)/, '') : flag,
    )
}

function creationOf(flags: readonly string[]): 'auto' | 'file' | 'dir' {
  if (flags.includes('x-create=dir')) return 'dir'
  return flags.includes('x-create=file') ? 'file' : 'auto'
}

function planHome(input: PlanInput): PlannedMount[] {
  const home = mountedHome(input)
  return home === undefined ? [] : [bindDirectory(home.source, home.target, home)]
}

function planWorkingDirectory({ request, step }: PlanInput): PlannedMount[] {
  if (request.mountCwd !== true) return []
  const origin = originOf(request, 'container-mount-cwd', BERTH_DEFAULT)
  return [bindDirectory(step.cwd, insideRoot(step.cwd), { reason: "the step's directory", origin })]
}

function bindDirectory(source: string, target: string, { reason, origin }: Reason): PlannedMount {
  return {
    kind: 'bind',
    source,
    target,
    flags: ['nosuid'],
    recursive: true,
    create: 'dir',
    trusted: false,
    optional: false,
    replaceLink: false,
    reason,
    origin,
  }
}

function isBelow(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory === '/' ? '' : directory}/`)
}
