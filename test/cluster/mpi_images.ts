// SPDX-License-Identifier: Apache-2.0
/**
 * Images with the MPI of other Debian releases: just the packages that a program needs, unpacked and not installed, and
 * on top a program that is compiled here. Unpacked packages are cached; programs are made anew.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { must, type Outcome } from './command.js'
import { lines } from './expect.js'
import { CACHE_DIR, mirror } from './images.js'
import { writeLayout } from './layout.js'
import type { Registry } from './registry.js'
import { makeTar, type TarEntry } from './tar.js'

/** Bump when a list below changes. */
const RECIPE_VERSION = 2
const MOVING = 'sid'
const COMMON = ['libc6', 'libgcc-s1', 'libstdc++6', 'zlib1g', 'busybox-static']

const MPI_PACKAGES = {
  /** No MPI: for those that a test brings along. */
  'none-trixie': [],
  'mpich-trixie': ['libmpich12', 'libhwloc15', 'libucx0', 'libnuma1', 'libudev1', 'libcap2', 'libgfortran5'],
  'mpich-bookworm': [
    'libmpich12',
    'libhwloc15',
    'libucx0',
    'libnuma1',
    'libudev1',
    'libcap2',
    'libgfortran5',
  ],
  'mpich-bullseye': ['libmpich12', 'libgfortran5'],
  'mpich-sid': ['libmpich12'],
  'openmpi-bookworm': [
    ...['libopenmpi3', 'openmpi-common', 'libpmix2', 'libhwloc15', 'libevent-core-2.1-7', 'libmunge2'],
    ...['libevent-pthreads-2.1-7', 'libudev1', 'libcap2', 'libnuma1', 'libnl-3-200', 'libnl-route-3-200'],
    ...['libibverbs1', 'librdmacm1', 'libfabric1', 'libpsm2-2', 'libucx0', 'ibverbs-providers'],
    ...['libpsm-infinipath1', 'libgfortran5', 'libatomic1'],
  ],
  'openmpi-bullseye': [
    ...['libopenmpi3', 'openmpi-bin', 'openmpi-common', 'libpmix2', 'libhwloc15', 'libevent-core-2.1-7'],
    ...['libmunge2', 'libevent-pthreads-2.1-7', 'libudev1', 'libcap2', 'libnuma1', 'libnl-3-200'],
    ...['libnl-route-3-200', 'libibverbs1', 'librdmacm1', 'libfabric1', 'libpsm2-2', 'libucx0'],
    ...['ibverbs-providers', 'libpsm-infinipath1', 'libgfortran5', 'libatomic1'],
  ],
  'openmpi-trixie': [
    ...['libopenmpi40', 'openmpi-common', 'libpmix2t64', 'libhwloc15', 'libevent-core-2.1-7t64', 'libmunge2'],
    ...['libevent-pthreads-2.1-7t64', 'libudev1', 'libcap2', 'libnuma1', 'libnl-3-200', 'libnl-route-3-200'],
    ...['libibverbs1', 'librdmacm1t64', 'libfabric1', 'libpsm2-2', 'libucx0', 'ibverbs-providers'],
    ...['python3.13-minimal', 'libpython3.13-minimal', 'libpython3.13-stdlib', 'python3-mpi4py', 'libexpat1'],
  ],
  'openmpi-sid': ['libopenmpi40', 'openmpi-common'],
} as const satisfies Record<string, readonly string[]>

export type MpiImage = keyof typeof MPI_PACKAGES

/** Large, and loaded by nothing that runs here: what GPUs and daemons bring along. */
const NOT_UNPACKED = [
  ...['./usr/share', './usr/sbin', '*/gconv', '*/systemd', '*/llvm-*', 'libLLVM*', 'libclang*', 'libz3*'],
  ...['libamd*', 'libhsa-*', '*/libze_validation*'],
]
/** Packages with nothing else: to decompress them takes most of the time. */
const LEFT_OUT = '*/libllvm*|*/libclang*|*/libamd*|*/libz3*|*/systemd_*|*/dbus*'

/** The image with `programs` in /opt/bin; pushed under its own name and theirs. @param above another image's packages over its own */
export async function publishMpi(
  registry: Registry,
  name: MpiImage,
  programs: Readonly<Record<string, string>>,
  more: readonly TarEntry[] = [],
  above?: MpiImage,
): Promise<string> {
  const layout = join(CACHE_DIR, `own-${name}.${process.pid}`)
  const files = Object.entries(programs).map(([program, path]) => ({
    name: `opt/bin/${program}`,
    mode: 0o755,
    content: readFileSync(path),
  }))
  const folders = ['opt/', 'opt/bin/'].map((folder) => ({ name: folder, type: '5' as const }))
  try {
    writeLayout(layout, {
      layers: [
        readFileSync(await packagesFile(name)),
        ...(above === undefined ? [] : [readFileSync(await packagesFile(above))]),
        makeTar([...folders, ...files, ...more]),
      ],
      compression: 'none',
      env: ['PATH=/opt/bin:/usr/bin:/bin'],
    })
    // Otherwise skopeo compresses what it pushes.
    return await registry.push(layout, `${name}:${Object.keys(programs).join('-')}`, ['--preserve-digests'])
  } finally {
    rmSync(layout, { recursive: true, force: true })
  }
}

/** Why sid cannot be tested today: what it has changes, and is not always whole. @param library of the image */
export async function notInSid(name: MpiImage, library: string): Promise<string> {
  const file = await packagesFile(name).catch(() => undefined)
  if (file === undefined) return `${name}: apt cannot put the packages together`
  const { stdout } = await must(['tar', '-tf', file])
  return stdout.includes(`/${library}`) ? '' : `${library} in sid`
}

/** A tar of the image's packages. */
export async function packagesFile(name: MpiImage): Promise<string> {
  const path = join(CACHE_DIR, `${name}-v${RECIPE_VERSION}.tar`)
  if (!existsSync(path)) {
    const folder = `${path}.${process.pid}`
    await unpackPackages(name.split('-').at(-1) ?? '', [...COMMON, ...MPI_PACKAGES[name]], folder)
    const tar = `${folder}.tar`
    await must(['tar', '--owner=0', '--group=0', '--numeric-owner', '-C', folder, '-cf', tar, '.'])
    rmSync(folder, { recursive: true })
    renameSync(tar, path)
  }
  return path
}

/** With lists and a cache of its own, so that the machine's apt is left alone. */
async function unpackPackages(release: string, packages: readonly string[], folder: string): Promise<void> {
  const apt = `${folder}.apt`
  for (const part of ['lists/partial', 'cache/archives/partial', 'debs'])
    mkdirSync(join(apt, part), { recursive: true })
  writeFileSync(join(apt, 'sources.list'), `deb ${await mirror()} ${release} main\n`)
  writeFileSync(join(apt, 'status'), '')
  const options = [
    `Dir::Etc::SourceList=${apt}/sources.list`,
    'Dir::Etc::SourceParts=/dev/null',
    `Dir::State::Lists=${apt}/lists`,
    `Dir::State::status=${apt}/status`,
    `Dir::Cache=${apt}/cache`,
    'Acquire::Languages=none',
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option])
  const limits = { timeoutMs: 300_000 }
  try {
    await must(['apt-get', ...options, '-qq', 'update'], limits)
    await must(fetching(release, options, packages), { ...limits, cwd: join(apt, 'debs') })
    for (const part of ['usr/bin', 'usr/lib', 'usr/lib64', 'etc', 'tmp'])
      mkdirSync(join(folder, part), { recursive: true })
    const unpack = [
      `for d in "$0"/*.deb; do case $d in ${LEFT_OUT}) continue;; esac; dpkg-deb --fsys-tarfile "$d" |`,
      `tar -x -C "$1" --keep-directory-symlink ${NOT_UNPACKED.map((name) => `--exclude='${name}'`).join(' ')}; done;`,
      // What the package's script would do by update-alternatives.
      'cd "$1/usr/lib"; for l in libpsm1/*.so.1.*; do test ! -e "$l" || ln -s "$l" .; done; cd /;',
      'ldconfig -r "$1"; ln -sf busybox "$1/usr/bin/sh"',
    ].join(' ')
    const merge = 'cd "$0" && ln -s usr/lib lib && ln -s usr/lib64 lib64 && ln -s usr/bin bin'
    await must(['sh', '-ec', merge, folder])
    await must(
      ['sh', '-ec', unpack, join(apt, release === MOVING ? 'cache/archives' : 'debs'), folder],
      limits,
    )
  } finally {
    rmSync(apt, { recursive: true, force: true })
  }
}

/** What sid's packages need changes from week to week, so apt is asked; that makes images of twice the size. */
function fetching(release: string, options: readonly string[], packages: readonly string[]): string[] {
  const whole = ['-y', '--no-install-recommends', '--download-only', 'install']
  return ['apt-get', ...options, '-qq', ...(release === MOVING ? whole : ['download']), ...packages]
}

/** Both nodes are this machine: only their namespaces differ, and shared memory would be tried between them. */
export const OVER_NODES = { UCX_TLS: 'tcp,self' }
/**
 * Should a rank wait for ever in MPI_Finalize all the same (mpi_probe.c): all has been said by then.
 */
export const PROBE_OVER_NODES = ['sh', '-c', 'busybox timeout -s KILL 30 probe "$@" || [ $? = 137 ]', 'sh']

/** Compiled with an MPI of this machine. @returns the program's path */
export async function compileProbe(folder: string, compiler: string): Promise<string> {
  const program = join(folder, compiler.replace('mpicc.', 'probe-'))
  const source = join(import.meta.dirname, 'mpi_probe.c')
  const start = process.arch === 'x64' ? ['-nostartfiles'] : []
  await must([compiler, '-O1', '-no-pie', ...start, '-o', program, source])
  return program
}

/** The probe's lines: each rank once, and one sum of all. */
export function agrees(outcome: Outcome, size: number, version: RegExp): void {
  const ranks = lines(outcome).filter((line) => line.startsWith('rank '))
  assert.is(ranks.length, size, outcome.output)
  for (let rank = 0; rank < size; rank++) {
    const own = ranks.find((line) =>
      line.startsWith(`rank ${rank} of ${size} sum ${(size * (size + 1)) / 2} `),
    )
    assert.ok(own !== undefined, outcome.output)
    assert.match(own, version)
  }
}
