// SPDX-License-Identifier: Apache-2.0
/** The mounts of an OCI bundle in the words of --container-mounts. */
import { isAbsolute, join, posix } from 'node:path'
import { ATTRIBUTE_FLAGS, PROPAGATION_FLAGS } from './mount_flags.js'
import type { MountRequest } from './request.js'

export interface BundleMount {
  destination: string
  type?: string
  source?: string
  options: readonly string[]
}

/** Made in every container, with the contents that a process without privilege could have. */
const GIVEN: Readonly<Record<string, readonly string[]>> = {
  '/proc': ['proc'],
  '/dev': ['tmpfs', 'devtmpfs'],
  '/dev/pts': ['devpts'],
  '/dev/shm': ['tmpfs'],
  '/dev/mqueue': ['mqueue'],
  '/sys': ['sysfs'],
  '/sys/fs/cgroup': ['cgroup', 'cgroup2'],
}
/** A fresh mount is like that, or berth decides: no device and no setuid program gains anything in a container. */
const WITHOUT_EFFECT = new Set([
  'defaults',
  'rbind',
  'suid',
  'dev',
  'strictatime',
  'nostrictatime',
  'norelatime',
])
/** Owners of a tmpfs: it is the user's. */
const TMPFS_OWNER = /^[ug]id=\d+$/
const TMPFS_OPTION = /^(size|nr_blocks|nr_inodes|huge|mpol|mode)=/

/**
 * @param directory of the bundle: relative sources start there (runtime-spec, config.md, Mounts)
 * @returns undefined for what every container has anyway, a text for what cannot be done
 */
export function translateMount(mount: BundleMount, directory: string): MountRequest | string | undefined {
  const target = posix.normalize(`/${mount.destination}`)
  const isBind = mount.type === 'bind' || mount.options.some((word) => word === 'bind' || word === 'rbind')
  if (!isBind && GIVEN[target]?.includes(mount.type ?? '')) return undefined
  if (isBind) {
    const { source = '' } = mount
    if (source === '') return 'names no source'
    if (target === '/sys' && source === '/sys') return undefined
    const path = isAbsolute(source) ? source : join(directory, source)
    return flagged({ source: path, kind: 'bind', target, flags: [] }, mount.options)
  }
  if (mount.type === 'tmpfs')
    return flagged({ source: 'tmpfs', kind: 'tmpfs', target, flags: [] }, mount.options)
  return `is of type ${JSON.stringify(mount.type ?? '')}, which only root can mount`
}

function flagged(mount: MountRequest, options: readonly string[]): MountRequest | string {
  const flags: string[] = []
  for (const word of options) {
    if (WITHOUT_EFFECT.has(word) || (mount.kind === 'tmpfs' && TMPFS_OWNER.test(word))) continue
    const known =
      ATTRIBUTE_FLAGS.includes(word) ||
      PROPAGATION_FLAGS.includes(word) ||
      (mount.kind === 'tmpfs' ? TMPFS_OPTION.test(word) : word === 'bind')
    if (!known) return `has the unknown option ${JSON.stringify(word)}`
    flags.push(word)
  }
  return { ...mount, flags }
}
