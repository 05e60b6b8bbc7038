// SPDX-License-Identifier: Apache-2.0
/** The flags a mount may carry; an unknown one is refused, since a mistyped "ro" would leave data writable. */
import { optionProblem } from './problem.js'
import type { MountRequest } from './request.js'

/** Attributes of mount_setattr(2). rw, exec and the like only take back what another flag gave, never a host's lock. */
export const ATTRIBUTE_FLAGS: readonly string[] = [
  'ro',
  'rw',
  'nosuid',
  'nodev',
  'noexec',
  'exec',
  'noatime',
  'nodiratime',
  'relatime',
  'strictatime',
]
export const PROPAGATION_FLAGS: readonly string[] = [
  'private',
  'rprivate',
  'slave',
  'rslave',
  'shared',
  'rshared',
  'unbindable',
  'runbindable',
]
/** Words of enroot's fstab that shape the mount instead of flagging it; `silent`, docker's `z` and `Z` mean nothing here. */
const SHAPE_FLAGS: readonly string[] = [
  'bind',
  'rbind',
  'nofail',
  'silent',
  'x-create=auto',
  'x-create=dir',
  'x-create=file',
  'z',
  'Z',
]
/** tmpfs(5) options that touch nobody else; uid and gid are berth's to set. No comma, which would add another. */
const TMPFS_OPTION = /^((size|nr_blocks|nr_inodes|huge|mpol)=[\w%:.-]+|mode=[01]?[0-7]{3}|inode32|inode64)$/

/** @throws BERTH_EOPTION naming the flag. */
export function checkMountFlags(
  option: string,
  kind: MountRequest['kind'],
  flags: readonly string[],
  shown: string,
): void {
  for (const flag of flags) {
    if (isKnown(kind, flag)) continue
    throw optionProblem(option, `invalid format: ${shown}: unknown ${kind} flag "${flag}"`)
  }
}

function isKnown(kind: MountRequest['kind'], flag: string): boolean {
  if (kind === 'umount') return flag === 'x-detach'
  if (ATTRIBUTE_FLAGS.includes(flag)) return true
  if (PROPAGATION_FLAGS.includes(flag)) return true
  if (kind === 'tmpfs') return TMPFS_OPTION.test(flag) || flag === 'x-create=dir'
  return SHAPE_FLAGS.includes(flag)
}
