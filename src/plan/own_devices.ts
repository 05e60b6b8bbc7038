// SPDX-License-Identifier: Apache-2.0
/** /dev of a container with an ipc namespace of its own: the host's devices, but its own memory, queues and terminals. */
import { originOf, type PlanInput } from './input.js'
import type { PlannedMount } from './spec.js'

/** Made anew, or of no use in a step: consoles, disks and the loop devices of other steps. */
const LEFT_OUT =
  /^(shm|mqueue|pts|ptmx|console|tty\d+|ttyS\d+|vcs.*|loop.*|ram\d+|zram\d+|mapper|block|disk|char|vd[a-z]+|sd[a-z]+\d*|dm-\d+|autofs|initctl|log)$/
const DIRECTORY_MODE = 0o755

/** Undefined: the host's /dev as it is. */
export function planOwnDevices({ request, devices, user }: PlanInput): PlannedMount[] | undefined {
  if (!request.unshare.includes('ipc') || devices === undefined) return undefined
  const why = {
    reason: 'part of the ipc namespace',
    origin: originOf(request, 'container-unshare', 'flag --container-unshare'),
  }
  const owner = `uid=${user.uid},gid=${user.gid}`
  const flags = ['nosuid', 'noexec']
  const mounts: PlannedMount[] = [
    { kind: 'tmpfs', target: '/dev', options: owner, flags, mode: DIRECTORY_MODE, ...why },
  ]
  for (const { name, kind, to } of devices) {
    const target = `/dev/${name}`
    if (LEFT_OUT.test(name)) continue
    if (kind === 'link') mounts.push({ kind: 'symlink', target, to: to ?? '', ...why })
    else mounts.push({ ...bindDevice(target, kind), ...why })
  }
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
