// SPDX-License-Identifier: Apache-2.0
/** Names of libraries that hookup asks about, the same for images and for the node. */
import { posix } from 'node:path'
import type { ElfFacts } from '../native.js'
import type { MpiFamily, MpiRole } from './facts.js'

/** Beginnings of the file names of MPI libraries: libmpi, libmpich, libmpifort, libmpi_abi, libmpi_gnu_…. */
export const MPI_FILES = ['libmpi']
/** Read in images: MPI, the C library, what tells its own version. */
export const READ_OF_IMAGES = [
  ...[...MPI_FILES, 'libpmix.so', 'libc.so.6', 'libc-2.'],
  // Red Hat's libgcc_s.so.1 is a link to libgcc_s-8-20210514.so.1.
  ...['libstdc++.so.', 'libgcc_s'],
]
/** GCC's runtimes, by the names that are asked for, and the versions of their symbols. */
export const RUNTIMES: ReadonlyMap<string, readonly string[]> = new Map([
  ['libstdc++.so.6', ['GLIBCXX_', 'CXXABI_']],
  ['libgcc_s.so.1', ['GCC_']],
])
/** What is asked about the symbols of an image's MPI: mpiFamily below, and what the node's may lack. */
export const TOLD_OF_MPI = ['MPI_', 'ompi_mpi_comm_world']
/** libpmix has "OpenPMIx 4.2.2 (PMIx Standard: …)" in it since 3.2; before, "PMIx 2.1.4". */
export const PMIX_MARKER = { 'libpmix.so': 'PMIx ' }
/** Below the library of C since Open MPI 6.0. */
const OPEN_MPI_CORE = /^libopen_mpi\.so/
/** Open MPI's layers, and what its modules share. */
const OPEN_MPI_PART = /^lib(open-(pal|rte)|open_mpi|mca_common_\w+|oshmem|ompitrace)\.so\./
/** DT_RELR needs a loader of 2.36, whatever the other versions say (glibc NEWS 2.36). */
const RELR = 'GLIBC_ABI_DT_RELR'
const RELR_SINCE = '2.36'

/**
 * Undefined: no C library of an MPI. The family is told by symbols: Open MPI 1.10 is a libmpi.so.12 too. Since 6.0 those
 * of Open MPI's own are in a library below (libopen_mpi).
 */
export function mpiFamily({ defines, needed, soname, path }: ElfFacts): MpiFamily | undefined {
  if (!defines.includes('MPI_Init')) return undefined
  if (/^libmpi_abi\.so/.test(soname === '' ? (path.split('/').at(-1) ?? '') : soname)) return 'abi'
  const isOpen = defines.includes('ompi_mpi_comm_world') || needed.some((name) => OPEN_MPI_CORE.test(name))
  return isOpen ? 'openmpi' : 'mpich'
}

/** A library of Open MPI's own below its bindings: of one build with them, whatever its SONAME says. */
export function isOpenMpiCore(name: string): boolean {
  return OPEN_MPI_PART.test(name)
}

/**
 * MPICH's and its kin's bindings (libmpifort of upstream, libmpichfort of Debian, libmpifort_gnu_… of Cray). Open MPI's
 * have names of their own and go only with the whole of it.
 */
export function mpiRole({ soname }: Pick<ElfFacts, 'soname'>): MpiRole | undefined {
  const [, kind] = /^libmpi(?:ch)?(fort|cxx)(?:_\w+)?\.so/.exec(soname) ?? []
  return kind === 'fort' || kind === 'cxx' ? kind : undefined
}

/** Of versions such as GLIBC_2.34 those with the prefix; '' when there is none. */
export function highestVersion(versions: readonly string[], prefix: string): string {
  const numbers = versions.flatMap((version) => {
    if (version === RELR && prefix === 'GLIBC_') return [RELR_SINCE]
    const number = version.startsWith(prefix) ? version.slice(prefix.length) : ''
    return /^\d+(\.\d+)*$/.test(number) ? [number] : []
  })
  return numbers.reduce((best, one) => (compareVersions(one, best) > 0 ? one : best), '')
}

/** Of each kind of version that GCC's runtimes have, the highest: GLIBCXX_3.4.30, CXXABI_1.3.13. */
export function runtimeVersions(versions: readonly string[]): string[] {
  return [...RUNTIMES.values()].flat().flatMap((prefix) => {
    const highest = highestVersion(versions, prefix)
    return highest === '' ? [] : [`${prefix}${highest}`]
  })
}

/** Directories of an RPATH or RUNPATH. @param origin of the file that has it */
export function foldersOf(path: string, origin: string): string[] {
  return path
    .split(':')
    .map((folder) => folder.replace(/\$(ORIGIN\b|\{ORIGIN\})/g, origin))
    .filter((folder) => folder.startsWith('/'))
    .map((folder) => posix.resolve(folder))
}

/** By number, part for part; '' is lowest. */
export function compareVersions(a: string, b: string): number {
  const left = a.match(/\d+/g) ?? []
  const right = b.match(/\d+/g) ?? []
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const order = Number(left[i] ?? -1) - Number(right[i] ?? -1)
    if (order !== 0) return order
  }
  return 0
}
