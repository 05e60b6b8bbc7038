// SPDX-License-Identifier: Apache-2.0
/**
 * Libraries that devices bring: which of them the image's C library can load, and how its loader finds these. glibc's is
 * told by its cache. A loader without one, or of an image that nobody has looked into, gets LD_LIBRARY_PATH, which goes
 * before RUNPATH: so it must name a directory that has nothing else.
 */
import { posix } from 'node:path'
import { compareVersions } from '../image/elf_names.js'
import type { PlanInput } from './input.js'
import { LIBRARIES_DIR, planLoader } from './loader.js'
import { hasLoaderCache, type LoaderEntry } from './loader_cache.js'
import type { PlannedMount, Reason } from './spec.js'
import type { VariableEdits } from './variables.js'

export interface AddedLibrary {
  /** As it is asked for. */
  name: string
  /** In the container. */
  path: string
  /** On the host, where the file itself is the node's. */
  source?: string
}

interface LibraryEdits {
  loader: LoaderEntry[]
  mounts: PlannedMount[]
  notes: string[]
}

export const LIBRARY = /\.so(\.|$)/
/** As many links as lead from libcuda.so to its file, and some more. */
const LINKS_MAX = 8
const SHOWN_MAX = 3

/** What was mounted or linked into one of the directories, under each name there. */
export function addedLibraries(
  mounts: readonly PlannedMount[],
  directories: readonly string[],
): AddedLibrary[] {
  const byTarget = new Map(mounts.map((mount) => [mount.target, mount]))
  const sourceOf = (mount: PlannedMount | undefined): string | undefined => {
    let at = mount
    for (let links = 0; at?.kind === 'symlink' && links < LINKS_MAX; links++)
      at = byTarget.get(posix.resolve(posix.dirname(at.target), at.to))
    return at?.kind === 'bind' ? at.source : undefined
  }
  return mounts
    .filter(
      ({ target }) => directories.includes(posix.dirname(target)) && LIBRARY.test(posix.basename(target)),
    )
    .map((mount) => {
      const source = sourceOf(mount)
      const { target: path } = mount
      return { name: posix.basename(path), path, ...(source === undefined ? {} : { source }) }
    })
}

/** What the image cannot load, as one clause: undefined where it can, or where that cannot be told. */
export function misfitOf({ image, host }: PlanInput, sources: readonly string[]): string | undefined {
  const libc = image.facts?.libc
  if (libc?.kind !== 'glibc') return undefined
  const needs = host?.accelerators?.needs
  const tooNew = sources.flatMap((source) => {
    const need = needs?.get(source)
    const loads = need === undefined || need.bits === 32 || compareVersions(need.glibc, libc.version) <= 0
    return loads ? [] : [`${posix.basename(source)} needs glibc ${need.glibc}`]
  })
  if (tooNew.length === 0) return undefined
  const more = tooNew.length > SHOWN_MAX ? ` and ${tooNew.length - SHOWN_MAX} more` : ''
  return `${tooNew.slice(0, SHOWN_MAX).join(', ')}${more}, the image offers ${libc.version}`
}

/** Undefined: at least one of them can be loaded, or there are none. */
export function misfitOfAll(input: PlanInput, libraries: readonly AddedLibrary[]): string | undefined {
  const sources = sourcesOf(libraries)
  const isNone = sources.every((source) => misfitOf(input, [source]) !== undefined)
  return sources.length > 0 && isNone ? misfitOf(input, sources) : undefined
}

/** @param why its reason begins each note */
export function planLibraries(
  input: PlanInput,
  libraries: readonly AddedLibrary[],
  variables: VariableEdits,
  why: Reason,
): LibraryEdits {
  if (libraries.length === 0) return { loader: [], mounts: [], notes: [] }
  if (!hasLoaderCache(input)) {
    const mounts = libraries.map(({ name, path }): PlannedMount => {
      return { kind: 'symlink', target: posix.join(LIBRARIES_DIR, name), to: path, ...why }
    })
    const notes = planLoader(variables, [LIBRARIES_DIR], 'append', why)
    return { loader: [], mounts, notes: [...notes, ...foreignLibc(input, why)] }
  }
  const fits = ({ source }: AddedLibrary) => source === undefined || misfitOf(input, [source]) === undefined
  const loader = libraries.filter(fits).map((library) => entryOf(input, library))
  const misfit = misfitOf(input, sourcesOf(libraries))
  const notes = misfit === undefined ? [] : [`${why.reason}: ${misfit}: its loader is not told of them`]
  return {
    loader,
    mounts: [],
    notes: [`${why.reason}: the loader's cache has ${loader.length} names`, ...notes],
  }
}

/** Libraries of the node are built on glibc, whatever the image is. */
export function foreignLibc({ image }: PlanInput, { reason }: Reason): string[] {
  if (image.facts?.libc.kind !== 'musl') return []
  return [
    `${reason}: the image is built on musl, and they need glibc: programs of the image cannot load them`,
  ]
}

export function entryOf({ host }: PlanInput, { name, path, source = '' }: AddedLibrary): LoaderEntry {
  const is32 = host?.accelerators?.needs?.get(source)?.bits === 32
  return { name, path, ...(is32 ? { bits: 32 } : {}) }
}

function sourcesOf(libraries: readonly AddedLibrary[]): string[] {
  return [...new Set(libraries.flatMap(({ source }) => (source === undefined ? [] : [source])))]
}
