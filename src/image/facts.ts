// SPDX-License-Identifier: Apache-2.0
/**
 * What the node's libraries must fit: facts about an image, found once by the importer (inspect.ts), kept beside the
 * squashfs. The worker is root and takes them by shape and size only.
 */
import type { CacheEntry } from './ldcache.js'
import { isObject } from './manifest.js'
import { malformed, parseData, takeCount, takeText } from './wire.js'

/** openmpi and mpich by their symbols; abi: the standard ABI of MPI 5 (libmpi_abi.so). */
export type MpiFamily = 'mpich' | 'openmpi' | 'abi'

/** The library of C, and the bindings beside it. */
export type MpiRole = 'c' | 'fort' | 'cxx'

export interface ImageMpiLibrary {
  /** core: below Open MPI's bindings, of one build with them. */
  role: MpiRole | 'core' | 'other'
  /** The file itself, absolute. */
  path: string
  soname: string
  /** File names that lead to it. */
  names: string[]
  /** Symbols that it wants of the others of its MPI. */
  wants: string[]
}

/** libstdc++.so.6 or libgcc_s.so.1 in a directory of an image that is searched before the loader's cache. */
export interface ImageRuntime {
  /** By the name that is asked for, absolute. */
  path: string
  /** The highest of each kind: GLIBCXX_3.4.30, CXXABI_1.3.13, GCC_12.0.0. */
  provides: string[]
}

/** One MPI of an image: what lies in one directory and belongs together. */
export interface ImageMpi {
  family: MpiFamily
  /** N of the C library's .so.N. */
  major: number
  libraries: ImageMpiLibrary[]
  /** MPI_… functions of the C library. */
  functions: string[]
  /** Symbols that programs and other libraries of the image want of it. */
  wants: string[]
  users: { count: number; example: string }
  /** What it and its users have of GCC's runtimes beside them or by RPATH: the node's newer ones are not found then. */
  runtimes: ImageRuntime[]
}

export interface ImageFacts {
  version: typeof FACTS_VERSION
  libc: { kind: 'glibc' | 'musl' | 'none'; version: string; path: string; machine: number }
  mpi: ImageMpi[]
  /** PMIx libraries: file, and release where it is told in it. */
  pmix: { path: string; release: string }[]
  /** Name → the file that the loader finds without any path of the program's own. */
  libraries: Record<string, string>
  /** Absent: the image has none, or one that cannot be read. */
  cache?: CacheEntry[]
  /** More was there than the reader's limits; what is missing here may be in the image. */
  truncated: boolean
}

/** Raised when facts of an older kind must be found again. */
export const FACTS_VERSION = 4
/** Name of the field that carries them. */
export const FACTS_FIELD = 'facts'
/** As the largest frame. */
const FACTS_CHARS_MAX = 1 << 20
const NAMES_MAX = 40_000
const NAME_CHARS_MAX = 4096

export const NO_FACTS: ImageFacts = {
  version: FACTS_VERSION,
  libc: { kind: 'none', version: '', path: '', machine: 0 },
  mpi: [],
  pmix: [],
  libraries: {},
  truncated: true,
}

/** As JSON of at most so many bytes: the view of all libraries goes first, then all but the C library's version. */
export function factsWithin(facts: ImageFacts, bytes: number): string {
  const { cache: _, ...small } = { ...facts, libraries: {}, truncated: true }
  const choices = [facts, small, { ...NO_FACTS, libc: facts.libc }].map((one) => JSON.stringify(one))
  return choices.find((text) => Buffer.byteLength(text) <= bytes) ?? JSON.stringify(NO_FACTS)
}

/** @throws BerthError BERTH_EIMPORTER when it is not what inspect.ts writes */
export function takeFacts(text: string): ImageFacts {
  if (text.length > FACTS_CHARS_MAX) throw malformed('list of libraries')
  const { version, libc, mpi, pmix, libraries, cache, truncated } = parseData(text)
  if (version !== FACTS_VERSION || !isObject(libc) || !isObject(libraries))
    throw malformed('list of libraries')
  const { kind } = libc
  return {
    version: FACTS_VERSION,
    libc: {
      kind: kind === 'glibc' || kind === 'musl' ? kind : 'none',
      version: takeName(libc.version),
      path: takeName(libc.path),
      machine: takeCount(libc.machine),
    },
    mpi: takeList(mpi, takeMpi),
    pmix: takeList(pmix, (one) => ({ path: takeName(one.path), release: takeName(one.release) })),
    libraries: Object.fromEntries(Object.entries(libraries).map(([name, path]) => [name, takeName(path)])),
    ...(cache === undefined ? {} : { cache: takeList(cache, takeEntry) }),
    truncated: truncated === true,
  }
}

function takeMpi(mpi: Record<string, unknown>): ImageMpi {
  const { family, major, libraries, functions, wants, users, runtimes } = mpi
  if (!isObject(users)) throw malformed('MPI')
  return {
    family: family === 'openmpi' || family === 'abi' ? family : 'mpich',
    major: takeCount(major),
    libraries: takeList(libraries, ({ role, path, soname, names, wants: own }) => ({
      role: role === 'c' || role === 'fort' || role === 'cxx' || role === 'core' ? role : 'other',
      path: takeName(path),
      soname: takeName(soname),
      names: takeNames(names),
      wants: takeNames(own),
    })),
    functions: takeNames(functions),
    wants: takeNames(wants),
    users: { count: takeCount(users.count), example: takeName(users.example) },
    runtimes: takeList(runtimes, ({ path, provides }) => ({
      path: takeName(path),
      provides: takeNames(provides),
    })),
  }
}

function takeEntry({ name, path, flags, hwcaps, mask }: Record<string, unknown>): CacheEntry {
  const hexadecimal = takeName(mask)
  if (!Number.isInteger(flags) || !/^[0-9a-f]{0,16}$/.test(hexadecimal)) throw malformed('loader cache')
  return {
    name: takeName(name),
    path: takeName(path),
    flags: (flags as number) | 0,
    hwcaps: takeName(hwcaps),
    mask: hexadecimal,
  }
}

function takeList<T>(value: unknown, take: (one: Record<string, unknown>) => T): T[] {
  if (!Array.isArray(value) || value.length > NAMES_MAX) throw malformed('list of libraries')
  return value.map((one) => {
    if (!isObject(one)) throw malformed('list of libraries')
    return take(one)
  })
}

function takeNames(value: unknown): string[] {
  if (!Array.isArray(value) || value.length > NAMES_MAX) throw malformed('list of names')
  return value.map(takeName)
}

/** Names end in messages and paths. */
function takeName(value: unknown): string {
  const name = takeText(value, NAME_CHARS_MAX)
  if (/\p{Cc}/u.test(name)) throw malformed('name')
  return name
}
