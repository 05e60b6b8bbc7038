// SPDX-License-Identifier: Apache-2.0
/**
 * How the image's loader finds libraries that the node adds. Distributions search different directories by themselves
 * (Debian's glibc not /usr/lib64, Red Hat's nothing else), and LD_LIBRARY_PATH goes before RUNPATH, so a directory full
 * of the image's own libraries must never be put there: what was added is linked into one that has nothing else.
 */
import { posix } from 'node:path'
import type { PlannedMount, Reason } from './spec.js'
import type { VariableEdits } from './variables.js'

const NAME = 'LD_LIBRARY_PATH'
/** Beside berth's own programs in the container. */
export const LIBRARIES_DIR = '/.berth/lib'
const LIBRARY = /\.so(\.|$)/

/** Append: names that the image has itself stay the image's; prepend: they become the node's. @returns notes */
export function planLoader(
  variables: VariableEdits,
  directories: readonly string[],
  where: 'prepend' | 'append',
  why: Reason,
): string[] {
  if (directories.length === 0) return []
  variables.extend(NAME, [...new Set(directories)], where, why)
  return [`${why.reason}: ${NAME} leads to ${directories.join(', ')}`]
}

/** Each library that was mounted or linked into one of the directories, under its name there. */
export function linkLibraries(
  mounts: readonly PlannedMount[],
  directories: readonly string[],
  { reason, origin }: Reason,
): PlannedMount[] {
  return mounts
    .filter(
      ({ target }) => directories.includes(posix.dirname(target)) && LIBRARY.test(posix.basename(target)),
    )
    .map(({ target }) => ({
      ...{ kind: 'symlink', target: posix.join(LIBRARIES_DIR, posix.basename(target)), to: target },
      ...{ reason, origin },
    }))
}
