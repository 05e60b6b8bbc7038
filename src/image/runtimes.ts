// SPDX-License-Identifier: Apache-2.0
/**
 * GCC's runtimes (libstdc++, libgcc_s) of an image that a program finds before it asks the loader's cache, where the
 * node's newer ones would be: conda and Spack have theirs beside the MPI or lead to them by RPATH.
 */
import { basename, dirname } from 'node:path'
import type { ElfFacts } from '../native.js'
import { foldersOf, RUNTIMES, runtimeVersions } from './elf_names.js'
import type { ImageRuntime } from './facts.js'

/** Of one MPI: a tree of Spack has one for each compiler. */
const RUNTIMES_MAX = 200

export interface Runtime extends ImageRuntime {
  /** The one that the cache, or else the loader's own directories, would give. */
  cached: boolean
}

/** @param paths of all libraries @param resolve follows links @param libraries as ImageFacts has them */
export function runtimesOf(
  found: readonly ElfFacts[],
  { paths, resolve }: { paths: Iterable<string>; resolve: (path: string) => string | undefined },
  libraries: Readonly<Record<string, string>>,
): Runtime[] {
  const known = new Map(found.map((one) => [one.path, one]))
  return [...paths].flatMap((path): Runtime[] => {
    const name = basename(path)
    const file = RUNTIMES.has(name) ? resolve(path) : undefined
    const facts = known.get(file ?? '')
    if (facts?.bits !== 64) return []
    return [{ path, provides: runtimeVersions(facts.versionsProvided), cached: libraries[name] === file }]
  })
}

/** Those beside an MPI, and where its users and bindings lead to. */
export function runtimesFor(
  main: ElfFacts,
  users: readonly ElfFacts[],
  runtimes: readonly Runtime[],
): ImageRuntime[] {
  const searched = new Set([main, ...users].flatMap(searchedBy))
  return runtimes
    .filter(({ path, cached }) => {
      const folder = dirname(path)
      return searched.has(folder) || (folder === dirname(main.path) && !cached)
    })
    .slice(0, RUNTIMES_MAX)
    .map(({ path, provides }) => ({ path, provides }))
}

/** RPATH holds for all that is loaded below, RUNPATH for what a file itself asks for, and makes RPATH void (ld.so(8)). */
function searchedBy({ path, needed, rpath, runpath }: ElfFacts): string[] {
  const asks = needed.some((name) => RUNTIMES.has(name))
  const folders = runpath === '' ? rpath : asks ? runpath : ''
  return foldersOf(folders, dirname(path))
}
