// SPDX-License-Identifier: Apache-2.0
/**
 * LD_LIBRARY_PATH, for loaders that have no cache to be told by (loader_cache.ts) and for directories that a site wants
 * searched first. It goes before RUNPATH, so a directory full of the image's own libraries must never be put there.
 */
import type { Reason } from './spec.js'
import type { VariableEdits } from './variables.js'

const NAME = 'LD_LIBRARY_PATH'
/** Beside berth's own programs in the container. */
export const LIBRARIES_DIR = '/.berth/lib'

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
