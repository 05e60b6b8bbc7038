// SPDX-License-Identifier: Apache-2.0
/**
 * Whether an MPI of the node can stand in for one of the image: the same ABI by family and major, a processor that runs
 * it, a C library that is new enough, and every symbol that something in the image wants.
 */
import { compareVersions, highestVersion, RUNTIMES } from '../image/elf_names.js'
import type { ImageFacts, ImageMpi, ImageMpiLibrary } from '../image/facts.js'
import type { HostLibrary, HostMpi, HostMpiLibrary } from './host.js'
import { keptBy, type MpiKept } from './mpi_kept.js'

interface Replacement {
  image: ImageMpiLibrary
  host: HostMpiLibrary
}

export interface Fit {
  replacements: Replacement[]
  /** Libraries of the node that the image does not have or has in an older version, by the name that is asked for. */
  additions: Map<string, HostLibrary>
}

/** EM_… of elf.h → name. */
const MACHINES: Readonly<Record<number, string>> = {
  62: 'x86_64',
  183: 'aarch64',
  21: 'ppc64le',
  243: 'riscv64',
}
/** These talk to the node's drivers: the node's own, whatever the version. */
const FABRIC =
  /^lib(fabric|uc[pstm]|uct_\w+|ibverbs|rdmacm|efa|mlx[45]|cxi|xpmem|gdrapi|psm2?|psm_infinipath|nl(-route)?-3|pmi2?)\.so/
/** Reads modules of its own release beside itself, and is what Open MPI's module for it was built with. */
const PMIX = /^libpmix\.so/
/** Symbols named in a reason. */
const SHOWN_MAX = 3

/** A fit, or why there is none. */
export function fitMpi(image: ImageFacts, wanted: ImageMpi, host: HostMpi): Fit | MpiKept {
  const { libc } = image
  if (libc.kind === 'musl')
    return keptBy('musl', "the image is built on musl, and the node's libraries need glibc")
  if (libc.kind !== 'glibc') return keptBy('unknown-libc', "the image's C library is not known")
  if (libc.machine !== host.machine)
    return keptBy(
      'machine',
      `the image is for ${MACHINES[libc.machine] ?? libc.machine}, the node's MPI for ${MACHINES[host.machine] ?? host.machine}`,
    )
  if (host.missing.length > 0)
    return keptBy('missing-library', `${host.missing.join(', ')} is needed by it and not found on this node`)
  const stranger = wanted.family === 'openmpi' ? strangerOf(wanted, host) : undefined
  if (stranger !== undefined) return stranger
  const replacements = wanted.libraries.flatMap((library): Replacement[] => {
    const stand = standIn(library, host)
    return stand === undefined ? [] : [{ image: library, host: stand }]
  })
  const lost = lostSymbols(wanted, replacements)
  if (lost.length > 0)
    return keptBy(
      'symbols',
      `it lacks ${shown(lost)}, which ${wanted.users.example === '' ? 'the image' : wanted.users.example} needs`,
    )
  const additions = additionsOf(image, host, replacements)
  const tooNew = [...replacements.map((one) => one.host), ...additions.values()].find(
    ({ glibc }) => compareVersions(glibc, libc.version) > 0,
  )
  if (tooNew !== undefined)
    return keptBy(
      'glibc',
      `${fileName(tooNew.path)} needs glibc ${tooNew.glibc}, the image offers ${libc.version}`,
    )
  if (compareVersions(host.open?.glibc ?? '', libc.version) > 0)
    return keptBy('glibc', `its modules need glibc ${host.open?.glibc}, the image offers ${libc.version}`)
  return oldRuntime(wanted, host, { replacements, additions }) ?? { replacements, additions }
}

/**
 * What the image has of GCC's runtimes in a place that is searched before the loader's cache stays whatever the cache
 * says: all that comes from the node must do with it.
 */
function oldRuntime({ runtimes }: ImageMpi, host: HostMpi, fit: Fit): MpiKept | undefined {
  if (runtimes.length === 0) return undefined
  const found = new Set(runtimes.map(({ path }) => fileName(path)))
  const added = [...fit.additions].flatMap(([name, library]) => (found.has(name) ? [] : [library]))
  const wanting = [
    ...[...fit.replacements.map((one) => one.host), ...added].map(({ path, runtime }) => ({
      who: fileName(path),
      runtime,
    })),
    { who: 'one of its modules', runtime: host.open?.runtime ?? [] },
  ]
  for (const { path, provides } of runtimes)
    for (const prefix of RUNTIMES.get(fileName(path)) ?? [])
      for (const { who, runtime } of wanting) {
        const [needs, has] = [highestVersion(runtime, prefix), highestVersion(provides, prefix)]
        if (compareVersions(needs, has) > 0)
          return keptBy(
            'gcc-runtime',
            `${who} needs ${prefix}${needs}, and programs of the image find ${path} first, which ${has === '' ? 'has none' : `ends at ${prefix}${has}`}`,
          )
      }
  return undefined
}

function standIn({ role, soname }: ImageMpiLibrary, host: HostMpi): HostMpiLibrary | undefined {
  if (role === 'c') return host.libraries.c
  if (host.open !== undefined) return host.open.parts.get(soname)
  return role === 'other' || role === 'core' ? undefined : host.libraries[role]
}

/**
 * Why parts of the one would meet parts of the other: Open MPI's bindings use what its layers do not offer to programs,
 * so all are replaced or none. Layers have other SONAMEs in another major release, though the library of C may not.
 */
function strangerOf(wanted: ImageMpi, { open }: HostMpi): MpiKept | undefined {
  if (open === undefined) return keptBy('modules', 'its modules were not found')
  const layers = wanted.libraries.filter(
    ({ role, soname }) => role === 'core' && soname.startsWith('libopen'),
  )
  if (layers.length === 0)
    return keptBy('layers', "the layers of the image's (libopen-pal) were not found beside it")
  const parts = [
    ...layers,
    ...wanted.libraries.filter(({ role }) => role === 'fort' || role === 'cxx' || role === 'other'),
  ]
  const missing = parts.filter(({ soname }) => !open.parts.has(soname)).map(({ soname }) => soname)
  if (missing.length === 0) return undefined
  const own = [...open.parts.keys()].filter((name) => name.startsWith('libopen')).sort()
  return keptBy(
    'release',
    `it has no ${shown(missing)} as the image's has: it is ${own.join(' and ') || 'of another release'}`,
  )
}

/** Where another MPI of the image is kept: what that one loads too stays the image's, unless the node's is newer. */
export function besideKept(image: ImageFacts, { replacements, additions }: Fit, host: HostMpi): Fit {
  const fits = ([name, { path }]: [string, HostLibrary]) => {
    const own = image.libraries[name]
    return own === undefined || isNewer(path, own) || isOfOpenMpi(name, host)
  }
  return { replacements, additions: new Map([...additions].filter(fits)) }
}

/** Functions that the image's library offers and the node's does not; nothing in the image wants them. */
export function unusedLosses(wanted: ImageMpi, { replacements }: Fit): string[] {
  const main = replacements.find(({ image }) => image.role === 'c')
  if (main === undefined) return []
  return wanted.functions.filter((name) => !main.host.defines.has(name))
}

/** What remains of the image's MPI wants its symbols too. */
function lostSymbols(wanted: ImageMpi, replacements: readonly Replacement[]): string[] {
  const replaced = new Set(replacements.map(({ image }) => image))
  // What only modules use goes with them.
  const kept = wanted.libraries.filter((library) => !replaced.has(library) && library.role !== 'core')
  const has = (name: string) => replacements.some(({ host }) => host.defines.has(name))
  // What only a kept library offers cannot be told from here; it stays as it is.
  const bindings = kept.some(({ role }) => role !== 'c')
  const needed = new Set([
    ...wanted.wants.filter((name) => !bindings || isOfC(name)),
    ...kept.flatMap(({ wants }) => wants),
  ])
  return [...needed].filter((name) => !has(name)).sort()
}

function isOfC(name: string): boolean {
  return /^P?MPI[X]?_[A-Z]|^MPIR_/.test(name)
}

/** The newer file of a name serves both sides, since both have the same soname; equal ones need nothing. */
function additionsOf(
  image: ImageFacts,
  host: HostMpi,
  replacements: readonly Replacement[],
): Map<string, HostLibrary> {
  const additions = new Map<string, HostLibrary>()
  const queue = [...replacements.flatMap((one) => one.host.needed), ...(host.open?.needed ?? [])]
  const replaced = new Set(replacements.map((one) => one.host.soname))
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    const library = host.dependencies.get(name)
    if (library === undefined || additions.has(name) || replaced.has(name)) continue
    const own = image.libraries[name]
    const fixed = FABRIC.test(name) || isOfOpenMpi(name, host)
    if (own !== undefined && !fixed && !isNewer(library.path, own)) continue
    additions.set(name, library)
    queue.push(...library.needed)
  }
  return additions
}

function isOfOpenMpi(name: string, { open }: HostMpi): boolean {
  return open !== undefined && (open.parts.has(name) || PMIX.test(name))
}

/** By the numbers behind .so in the files' names. */
function isNewer(host: string, image: string): boolean {
  return compareVersions(fileVersion(host), fileVersion(image)) > 0
}

function fileVersion(path: string): string {
  return /\.so\.([\d.]+)$/.exec(path)?.[1] ?? ''
}

function fileName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

function shown(names: readonly string[]): string {
  const more = names.length - SHOWN_MAX
  return `${names.slice(0, SHOWN_MAX).join(', ')}${more > 0 ? ` and ${more} more symbols` : ''}`
}
