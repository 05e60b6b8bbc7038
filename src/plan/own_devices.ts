// SPDX-License-Identifier: Apache-2.0
/**
 * /dev as a directory of the container's own with the host's devices in it: with an ipc namespace of its own, where
 * memory, queues and terminals are its own too, and where a device has another name inside than on the host.
 */
import { BERTH_DEFAULT, originOf, type PlanInput } from './input.js'
import type { PlannedMount } from './spec.js'

/** Made anew, or of no use in a step: consoles, disks and the loop devices of other steps. */
const LEFT_OUT =
  /^(shm|mqueue|pts|ptmx|console|tty\d+|ttyS\d+|vcs.*|loop.*|ram\d+|zram\d+|mapper|block|disk|char|vd[a-z]+|sd[a-z]+\d*|dm-\d+|autofs|initctl|log)$/
/** Of these the host's are needed where nothing is made anew. */
const KEPT = /^(mqueue|pts|ptmx|console|tty\d+|ttyS\d+)$/
const DIRECTORY_MODE = 0o755

/** Undefined: the host's /dev as it is. */
export function planOwnDevices({ request, devices, user, host }: PlanInput): PlannedMount[] | undefined {
  const ipc = request.unshare.includes('ipc')
  if (devices === undefined || !(ipc || host?.accelerators?.newNames === true)) return undefined
  const why = ipc
    ? {
        reason: 'part of the ipc namespace',
        origin: originOf(request, 'container-unshare', 'flag --container-unshare'),
      }
    : {
        reason: 'a device has another name inside',
        origin: originOf(request, 'container-device', BERTH_DEFAULT),
      }
  const owner = `uid=${user.uid},gid=${user.gid}`
  const flags = ['nosuid', 'noexec']
  const mounts: PlannedMount[] = [
    { kind: 'tmpfs', target: '/dev', options: owner, flags, mode: DIRECTORY_MODE, ...why },
  ]
  for (const { name, kind, to } of devices) {
    const target = `/dev/${name}`
    if (LEFT_OUT.test(name) && (ipc || !KEPT.test(name))) continue
    if (kind === 'link') mounts.push({ kind: 'symlink', target, to: to ?? '', ...why })
    else mounts.push({ ...bindDevice(target, kind), ...why })
  }
  if (!ipc) return mounts
  return [
    ...mounts,
    { kind: 'devpts', target: '/dev/pts', flags, ...why },
    { kind: 'symlink', target: '/dev/ptmx', to: 'pts/ptmx', ...why },
  ]
}

/** Message queues of the new namespace. */
export function planOwnQueues({ request }: PlanInput): PlannedMount[] {
  if (!request.unshare.includes('ipc')) return []
  const origin = originOf(request, 'container-unshare', 'flag --container-unshare')
  const flags = ['nosuid', 'nodev', 'noexec']
  return [{ kind: 'mqueue', target: '/dev/mqueue', flags, reason: 'part of the ipc namespace', origin }]
}

function bindDevice(
  path: string,
  kind: 'node' | 'directory',
): Omit<PlannedMount & { kind: 'bind' }, 'reason' | 'origin'> {
  return {
    ...{ kind: 'bind', source: path, target: path, flags: ['nosuid', 'noexec'] },
    ...{ recursive: true, create: kind === 'node' ? 'file' : 'dir' },
    ...{ trusted: true, optional: true, replaceLink: false },
  }
}
