// SPDX-License-Identifier: Apache-2.0
/** The facts of an image from its squashfs, in the importer: what is there, told apart by symbols and not by names. */
import { basename, dirname, posix } from 'node:path'
import type { ElfFacts, ImageScan, Marks, Native } from '../native.js'
import {
  highestVersion,
  isOpenMpiCore,
  MPI_FILES,
  mpiFamily,
  mpiRole,
  PMIX_MARKER,
  READ_OF_IMAGES,
  TOLD_OF_MPI,
} from './elf_names.js'
import { FACTS_VERSION, type ImageFacts, type ImageMpi, type ImageMpiLibrary, NO_FACTS } from './facts.js'
import { type CacheEntry, parseCache } from './ldcache.js'
import { type Runtime, runtimesFor, runtimesOf } from './runtimes.js'

const LD_CACHE = 'etc/ld.so.cache'
/** Where glibc's loader looks when the cache has no answer (elf/rtld of Debian, Fedora and upstream). */
const DEFAULT_DIRS = /^\/(usr\/)?lib(64|32)?(\/[a-z0-9_]+-linux-gnu[a-z0-9]*)?$/
/** Symbols that one MPI may be missing, and users that want them: more tell nobody more. */
const WANTS_MAX = 8000

/**
 * Never fails: an image about which nothing can be found is used as it is.
 * @param marks for MPI_FILES, of the conversion that made it: without them each program is read to know what it needs
 */
export async function inspectImage(
  native: Native,
  fd: number,
  threads: number,
  marks?: Marks,
): Promise<ImageFacts> {
  try {
    const options = {
      ...{ prefixes: READ_OF_IMAGES, exporters: MPI_FILES, told: TOLD_OF_MPI },
      ...{ texts: PMIX_MARKER, threads, ...(marks === undefined ? {} : { marks }) },
    }
    const [scan, files] = await Promise.all([
      native.scanImage(fd, options),
      native.readSquashfs(fd, [LD_CACHE]),
    ])
    return describe(scan, files[LD_CACHE])
  } catch {
    return NO_FACTS
  }
}

export function describe(scan: ImageScan, cacheFile: Buffer | undefined): ImageFacts {
  const names = scan.names.filter(({ path, target }) => !/\p{Cc}/u.test(path + target))
  const found = scan.found
    .filter(({ path }) => !/\p{Cc}/u.test(path))
    .map((one) => ({ ...one, path: `/${one.path}` }))
  const files = new Files(names)
  const cache = cacheFile === undefined ? undefined : parseCache(cacheFile)
  const libraries = loaderView(files, cache ?? [])
  const runtimes = runtimesOf(
    found,
    { paths: files.paths(), resolve: (path) => files.resolve(path) },
    libraries,
  )
  return {
    version: FACTS_VERSION,
    libc: libcOf(found, names),
    mpi: mpisOf(found, files, runtimes),
    pmix: found
      .filter(({ path }) => /^libpmix\.so/.test(basename(path)))
      .map(({ path, text }) => ({ path, release: text })),
    libraries,
    ...(cache === undefined ? {} : { cache }),
    truncated: scan.truncated,
  }
}

function libcOf(found: readonly ElfFacts[], names: readonly { path: string }[]): ImageFacts['libc'] {
  const named = (name: RegExp) => found.find(({ path }) => name.test(basename(path)))
  // Programs ask for the first; before 2.34 it was a link to the second, of which an update may leave an old one.
  const glibc = named(/^libc\.so\.6$/) ?? named(/^libc-2\.\d+\.so$/)
  if (glibc !== undefined) {
    const version = highestVersion(glibc.versionsProvided, 'GLIBC_')
    return { kind: 'glibc', version, path: glibc.path, machine: glibc.machine }
  }
  const musl = names.find(({ path }) => /^ld-musl-/.test(basename(path)))
  if (musl === undefined) return NO_FACTS.libc
  return { kind: 'musl', version: '', path: `/${musl.path}`, machine: 0 }
}

function mpisOf(found: readonly ElfFacts[], files: Files, runtimes: readonly Runtime[]): ImageMpi[] {
  const libraries = found.filter(({ exporter }) => exporter)
  return libraries.flatMap((main): ImageMpi[] => {
    const family = mpiFamily(main)
    if (family === undefined) return []
    const own = libraries.filter((one) => one === main || belongs(one, main, files))
    const core = family === 'openmpi' ? coreOf(main, files) : []
    const set = [...own.map((one) => libraryOf(one, main, files)), ...core]
    const leadsHere = new Set(set.flatMap(({ names }) => names))
    const users = found.filter(
      // Bindings of another MPI of the image ask for theirs by the same names.
      (one) => !one.exporter && one.needed.some((name) => leadsHere.has(name)) && !isPlugin(one, main),
    )
    const wants = [...new Set(users.flatMap((user) => user.wants))].sort().slice(0, WANTS_MAX)
    const functions = main.defines.filter((name) => /^MPI_[A-Z]/.test(name)).slice(0, WANTS_MAX)
    const example = users.find(({ executable }) => executable) ?? users[0]
    return [
      {
        family,
        major: Number(/\.so\.(\d+)/.exec(main.soname)?.[1] ?? 0),
        libraries: set,
        functions,
        wants,
        users: { count: users.length, example: example?.path ?? '' },
        runtimes: runtimesFor(main, [...own, ...users], runtimes),
      },
    ]
  })
}

/** Bindings lie beside the library of C and need it. */
function belongs(one: ElfFacts, main: ElfFacts, files: Files): boolean {
  if (mpiFamily(one) !== undefined || dirname(one.path) !== dirname(main.path)) return false
  const names = files.namesOf(main.path, main.soname)
  return one.needed.some((name) => names.includes(name))
}

/** Open MPI's own modules go wherever it goes. */
function isPlugin({ path }: ElfFacts, main: ElfFacts): boolean {
  return (
    path.startsWith(`${dirname(main.path)}/`) &&
    /^(mca_|lib)/.test(basename(path)) &&
    path.includes('/openmpi')
  )
}

function libraryOf(one: ElfFacts, main: ElfFacts, files: Files): ImageMpiLibrary {
  return {
    role: one === main ? 'c' : (mpiRole(one) ?? 'other'),
    path: one.path,
    soname: one.soname,
    names: files.namesOf(one.path, one.soname),
    wants: one === main ? [] : one.wants.slice(0, WANTS_MAX),
  }
}

/** Told by their names, which are Open MPI's alone; nothing in them needs to be read. */
function coreOf(main: ElfFacts, files: Files): ImageMpiLibrary[] {
  return files.beside(main.path).flatMap((path): ImageMpiLibrary[] => {
    const [soname] = /^lib[\w-]+\.so\.\d+/.exec(basename(path)) ?? []
    if (soname === undefined || !isOpenMpiCore(basename(path))) return []
    return [{ role: 'core', path, soname, names: [soname], wants: [] }]
  })
}

/** What the loader finds for a program that names no directory: the cache's answer, else the default directories'. */
function loaderView(files: Files, cache: readonly CacheEntry[]): Record<string, string> {
  const view = new Map<string, string>()
  const add = (name: string, path: string) => {
    const file = files.resolve(path)
    if (file !== undefined && !view.has(name)) view.set(name, file)
  }
  for (const { name, path, hwcaps } of cache) if (hwcaps === '') add(name, path)
  for (const path of files.inDefaultDirs()) add(basename(path), path)
  return Object.fromEntries([...view].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Libraries of an image by path, with their links; of links to directories only /lib → /usr/lib is known. */
class Files {
  private readonly targets = new Map<string, string>()

  constructor(names: readonly { path: string; target: string }[]) {
    for (const { path, target } of names) this.targets.set(`/${path}`, target)
  }

  paths(): Iterable<string> {
    return this.targets.keys()
  }

  resolve(path: string): string | undefined {
    let at = path
    for (let hops = 0; hops < 8; hops++) {
      const known = this.targets.has(at) ? at : `/usr${at}`
      const target = this.targets.get(known)
      if (target === undefined) return undefined
      if (target === '') return known
      at = posix.resolve(dirname(known), target)
    }
    return undefined
  }

  /** File names that lead to a file, its own and the one it gives itself too. */
  namesOf(file: string, soname: string): string[] {
    const names = [...this.targets].flatMap(([path, target]) =>
      target !== '' && /^lib(mpi|open)/.test(basename(path)) && this.resolve(path) === file
        ? [basename(path)]
        : [],
    )
    return [...new Set([basename(file), soname, ...names])].filter((name) => name !== '').sort()
  }

  /** Files of the same directory, without links. */
  beside(file: string): string[] {
    return [...this.targets].flatMap(([path, target]) =>
      target === '' && dirname(path) === dirname(file) ? [path] : [],
    )
  }

  inDefaultDirs(): string[] {
    return [...this.targets.keys()].filter((path) => DEFAULT_DIRS.test(dirname(path)))
  }
}
