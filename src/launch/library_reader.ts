// SPDX-License-Identifier: Apache-2.0
/**
 * Libraries of the node as its loader would find them: by RPATH, by ld.so.cache, beside the one that asks. Only files are
 * read that nobody but root can have written: they are mapped into every program of the step.
 */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { foldersOf, highestVersion, MPI_FILES, runtimeVersions } from '../image/elf_names.js'
import { parseCache } from '../image/ldcache.js'
import type { ElfFacts, Native } from '../native.js'
import type { HostLibrary } from '../plan/host.js'
import type { Looked } from './host_facts.js'
import { readHostLibrary } from './host_library.js'

const LD_CACHE = '/etc/ld.so.cache'
/** Parts of glibc: always the image's, which goes with its loader. */
const GLIBC =
  /^(ld-linux.*|ld64|libc|libm|libpthread|libdl|librt|libresolv|libutil|libanl|libmvec|libnsl|libnss_\w+|libcrypt)\.so/
/** Of an installation's own directory: as most are built, Red Hat's, Debian's. */
const LIBRARY_FOLDERS = ['lib', 'lib64', `lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`]
/** A library's whole family, fabric and all, has some fifty. */
const LIBRARIES_MAX = 400

export class LibraryReader {
  readonly problems: string[] = []
  /** Name → path. */
  private readonly cache: Map<string, string>
  private readonly known = new Map<string, ElfFacts | undefined>()

  constructor(
    private readonly native: Native,
    private readonly looked: Looked,
  ) {
    this.cache = readCache(looked)
  }

  cached(prefixes: readonly string[]): string[] {
    return [...this.cache].flatMap(([name, path]) =>
      prefixes.some((prefix) => name.startsWith(prefix)) ? [path] : [],
    )
  }

  /** The MPI libraries beside a library, or of a directory and what it has for libraries. */
  list(path: string): string[] {
    const folder = path.includes('.so') ? dirname(path) : path
    const below = LIBRARY_FOLDERS.map((name) => join(folder, name)).filter((one) => existsSync(one))
    return [folder, ...below].flatMap((one) => this.namesIn(one))
  }

  private namesIn(folder: string): string[] {
    this.looked.add(folder)
    return (this.entries(folder) ?? [])
      .filter((name) => name.includes('.so') && MPI_FILES.some((prefix) => name.startsWith(prefix)))
      .map((name) => join(folder, name))
  }

  /** Undefined: it has gone, perhaps since it was listed, or cannot be read. */
  private entries(folder: string): string[] | undefined {
    try {
      return readdirSync(folder)
    } catch (error) {
      this.problems.push(`${folder} cannot be read (${(error as NodeJS.ErrnoException).code})`)
      return undefined
    }
  }

  /** Undefined: not there, no ELF file, or not root's alone. */
  async read(path: string): Promise<ElfFacts | undefined> {
    const file = real(path)
    if (file === undefined) return undefined
    if (this.known.has(file)) return this.known.get(file)
    this.looked.add(file)
    const facts = await this.readFile(file).catch(() => undefined)
    this.known.set(file, facts)
    return facts
  }

  /** All of a folder whose names match; undefined: one of them is not root's alone, or the folder cannot be read. */
  async readAll(folder: string, name: RegExp): Promise<ElfFacts[] | undefined> {
    // Packages rename new files into it, which changes its time: a stat for each module at each step would tell no more.
    this.looked.add(folder)
    const all: ElfFacts[] = []
    const names = this.entries(folder)
    if (names === undefined) return undefined
    for (const path of names.filter((one) => name.test(one))) {
      const facts = await readHostLibrary(this.native, join(folder, path), []).catch(() => undefined)
      if (facts === 'foreign') {
        this.problems.push(`${join(folder, path)} is not used: others than root can change it`)
        return undefined
      }
      if (facts !== undefined) all.push(facts)
    }
    return all
  }

  /** What the libraries need and those need, but the parts of glibc and their `own` names. */
  async closure(
    libraries: readonly ElfFacts[],
    own: ReadonlySet<string>,
  ): Promise<{ dependencies: Map<string, HostLibrary>; missing: string[] }> {
    const dependencies = new Map<string, HostLibrary>()
    const missing = new Set<string>()
    const queue = [...libraries]
    for (let from = queue.pop(); from !== undefined; from = queue.pop()) {
      for (const name of from.needed) {
        if (GLIBC.test(name) || own.has(name) || dependencies.has(name) || missing.has(name)) continue
        const found = dependencies.size < LIBRARIES_MAX ? await this.find(name, from) : undefined
        if (found === undefined) missing.add(name)
        else {
          dependencies.set(name, libraryOf(name, found))
          queue.push(found)
        }
      }
    }
    return { dependencies, missing: [...missing].sort() }
  }

  private async find(name: string, from: ElfFacts): Promise<ElfFacts | undefined> {
    const origin = dirname(from.path)
    const folders = foldersOf(`${from.rpath}:${from.runpath}`, origin)
    const places = [
      ...folders.map((folder) => join(folder, name)),
      this.cache.get(name) ?? '',
      join(origin, name),
    ]
    for (const place of places) {
      const found = place.startsWith('/') ? await this.read(place) : undefined
      if (found?.machine === from.machine) return found
    }
    return undefined
  }

  private async readFile(path: string): Promise<ElfFacts | undefined> {
    const facts = await readHostLibrary(this.native, path, isMpi(path) ? MPI_FILES : [])
    if (facts !== 'foreign') return facts
    this.problems.push(`${path} is not used: others than root can change it`)
    return undefined
  }
}

function isMpi(path: string): boolean {
  return MPI_FILES.some((prefix) => basename(path).startsWith(prefix))
}

/** First entries win, as for the loader; those for special processors are left to it. */
function readCache(looked: Looked): Map<string, string> {
  looked.add(LD_CACHE)
  const paths = new Map<string, string>()
  try {
    for (const { name, path, hwcaps } of parseCache(readFileSync(LD_CACHE)) ?? [])
      if (hwcaps === '' && !paths.has(name)) paths.set(name, path)
  } catch {
    // A node without one has nothing to offer by name.
  }
  return paths
}

function real(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined
  }
}

/** @param name by which it is asked for */
export function libraryOf(name: string, { path, soname, needed, versionsNeeded }: ElfFacts): HostLibrary {
  const glibc = highestVersion(versionsNeeded, 'GLIBC_')
  const runtime = runtimeVersions(versionsNeeded)
  return { name, path, soname, needed: needed.filter((one) => !GLIBC.test(one)), glibc, runtime }
}
