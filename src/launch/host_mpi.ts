// SPDX-License-Identifier: Apache-2.0
/**
 * The node's own MPI installations and all that they need, as the loader would find it. Only files are read that nobody
 * but root can have written: they are mapped into every program of the step.
 */
import { dirname } from 'node:path'
import { MPI_FILES, mpiFamily, mpiRole } from '../image/elf_names.js'
import type { MpiFamily } from '../image/facts.js'
import type { ElfFacts, Native } from '../native.js'
import type { HostMpi } from '../plan/host.js'
import type { Looked } from './host_facts.js'
import { readOpenMpi } from './host_open_mpi.js'
import { LibraryReader, libraryOf } from './library_reader.js'

const CACHE_ORIGIN = "the node's ld.so.cache"

/** Directories or libraries that somebody named; none: what the node's ld.so.cache has. */
export interface WantedMpi {
  named: readonly string[]
  origin: string
  /** Those that are meant; absent: all that are there. Another one is known as if nobody had named it. */
  families?: readonly MpiFamily[]
}

export async function gatherMpi(
  native: Native,
  { named, origin: asked, families }: WantedMpi,
  looked: Looked,
): Promise<{ mpi: HostMpi[]; problems: string[] }> {
  const reader = new LibraryReader(native, looked)
  const origin = named.length === 0 ? CACHE_ORIGIN : asked
  const files = named.length === 0 ? reader.cached(MPI_FILES) : named.flatMap((path) => reader.list(path))
  const found: ElfFacts[] = []
  for (const path of new Set(files)) {
    const one = await reader.read(path)
    if (one !== undefined && one.bits === 64 && !found.some((other) => other.path === one.path))
      found.push(one)
  }
  const mpi: HostMpi[] = []
  for (const main of found) {
    const family = mpiFamily(main)
    if (family === undefined) continue
    const isMeant = named.length > 0 && (families?.includes(family) ?? true)
    mpi.push(await makeMpi(reader, main, found, { family, origin, named: isMeant }))
  }
  if (named.length > 0 && mpi.length === 0)
    reader.problems.push(`${origin}: no MPI library in ${named.join(', ')}`)
  return { mpi, problems: reader.problems }
}

async function makeMpi(
  reader: LibraryReader,
  main: ElfFacts,
  found: readonly ElfFacts[],
  { family, origin, named }: Pick<HostMpi, 'family' | 'origin' | 'named'>,
): Promise<HostMpi> {
  const libraries: HostMpi['libraries'] = {
    c: { ...libraryOf(main.soname, main), defines: new Set(main.defines) },
  }
  for (const one of found) {
    const role = mpiRole(one)
    if (role === undefined || !isBeside(one, main)) continue
    libraries[role] ??= { ...libraryOf(one.soname, one), defines: new Set(one.defines) }
  }
  const own = new Set(Object.values(libraries).map(({ soname }) => soname))
  const set = found.filter(({ path }) => Object.values(libraries).some((library) => library.path === path))
  const { dependencies, missing } = await reader.closure(set, own)
  const major = Number(/\.so\.(\d+)/.exec(main.soname)?.[1] ?? 0)
  const made = { family, major, machine: main.machine, libraries, dependencies, missing, origin, named }
  if (family !== 'openmpi') return made
  const bindings = found.filter((one) => one !== main && isBeside(one, main))
  const open = await readOpenMpi(reader, main, bindings)
  return open === undefined ? made : { ...made, open, dependencies: open.dependencies }
}

function isBeside(one: ElfFacts, main: ElfFacts): boolean {
  return dirname(one.path) === dirname(main.path) && one.needed.includes(main.soname)
}
