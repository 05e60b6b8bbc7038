// SPDX-License-Identifier: Apache-2.0
/**
 * What belongs to an Open MPI of the node beside its library: bindings, the libraries below, modules, settings and the
 * texts of its messages. All are of one build, and looked for at the paths that were built in (installdirs of Open MPI).
 */
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { highestVersion, isOpenMpiCore, runtimeVersions } from '../image/elf_names.js'
import type { ElfFacts } from '../native.js'
import type { HostLibrary, HostMpiLibrary, HostOpenMpi } from '../plan/host.js'
import { type LibraryReader, libraryOf } from './library_reader.js'

const SETTINGS = 'openmpi-mca-params.conf'
/** From <prefix>/lib/ARCH-linux-gnu, or Red Hat's /usr/lib64/openmpi/lib. */
const PREFIX_LEVELS = 3
const MODULE = /^mca_\w+\.so$/
/** Of 1.3 to 4, which keep everything in modules. Since 5 what comes with it is in its libraries (--enable-mca-dso: not). */
const LAYER_OF_MODULES = /^libopen-rte\.so/
const PMIX = /^libpmix\.so/

/** Undefined: it has modules, and these are not where builds and distributions put them, or not root's alone. */
export async function readOpenMpi(
  reader: LibraryReader,
  main: ElfFacts,
  bindings: readonly ElfFacts[],
): Promise<(HostOpenMpi & { dependencies: Map<string, HostLibrary> }) | undefined> {
  const folder = modulesOf(dirname(main.path))
  const modules = folder === undefined ? [] : await reader.readAll(folder, MODULE)
  if (modules === undefined) return undefined
  const own = new Set([main, ...bindings].map(({ soname }) => soname))
  // A module that lacks a library is left out by Open MPI, on the node too.
  const { dependencies } = await reader.closure([main, ...bindings, ...modules], own)
  if (folder === undefined && [...dependencies.keys()].some((name) => LAYER_OF_MODULES.test(name)))
    return undefined
  const parts = new Map<string, HostMpiLibrary>()
  for (const one of bindings)
    parts.set(one.soname, { ...libraryOf(one.soname, one), defines: new Set(one.defines) })
  for (const [name, library] of dependencies)
    if (isOpenMpiCore(name)) parts.set(name, { ...library, defines: new Set() })
  const pmix = [...dependencies.values()].find(({ name }) => PMIX.test(name))
  const places = [
    ...(folder === undefined ? [] : [folder]),
    ...textsOf(dirname(main.path)),
    ...(pmix === undefined ? [] : modulesOfPmix(pmix)),
  ]
  const wanted = modules.flatMap(({ versionsNeeded }) => versionsNeeded)
  return {
    parts,
    needed: [...new Set(modules.flatMap((one) => libraryOf('', one).needed))],
    glibc: highestVersion(wanted, 'GLIBC_'),
    runtime: runtimeVersions(wanted),
    directories: places,
    dependencies,
  }
}

/** <libdir>/openmpi as it is built, <libdir>/openmpi/lib/openmpi3 of Debian. */
function modulesOf(libraries: string): string | undefined {
  const near = foldersLike(libraries)
  const below = near.flatMap((folder) => foldersLike(join(folder, 'lib')))
  return [...near, ...below].find((folder) => namesIn(folder).some((name) => MODULE.test(name)))
}

function foldersLike(folder: string): string[] {
  return namesIn(folder)
    .filter((name) => /^openmpi\d*$/.test(name))
    .map((name) => join(folder, name))
}

function textsOf(libraries: string): string[] {
  let prefix = libraries
  const places: string[] = []
  for (let level = 0; level < PREFIX_LEVELS && prefix !== '/'; level++) {
    prefix = dirname(prefix)
    places.push(
      join(prefix, 'share/openmpi'),
      ...(prefix === '/usr' ? etcOfPackages() : [join(prefix, 'etc')]),
    )
  }
  return places.filter((path) =>
    path.endsWith('/share/openmpi') ? existsSync(path) : existsSync(join(path, SETTINGS)),
  )
}

function etcOfPackages(): string[] {
  return namesIn('/etc')
    .filter((name) => name.startsWith('openmpi'))
    .map((name) => join('/etc', name))
}

function modulesOfPmix({ path }: HostLibrary): string[] {
  return [join(dirname(path), 'pmix'), join(dirname(path), '../share/pmix')].filter((one) => existsSync(one))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
