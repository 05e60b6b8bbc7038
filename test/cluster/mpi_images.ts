// SPDX-License-Identifier: Apache-2.0
/**
 * Images with the MPI of other Debian releases: just the packages that a program needs, unpacked and not installed, and
 * on top a program that is compiled here. Unpacked packages are cached; programs are made anew.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { must } from './command.js'
import { CACHE_DIR, mirror } from './images.js'
import { writeLayout } from './layout.js'
import type { Registry } from './registry.js'
import { makeTar, type TarEntry } from './tar.js'

/** Bump when a list below changes. */
const RECIPE_VERSION = 1
const COMMON = ['libc6', 'libgcc-s1', 'libstdc++6', 'zlib1g', 'busybox-static']

export const MPI_PACKAGES = {
  'mpich-trixie': ['libmpich12', 'libhwloc15', 'libucx0', 'libnuma1', 'libudev1', 'libcap2', 'libgfortran5'],
  'mpich-bullseye': ['libmpich12', 'libgfortran5'],
  'openmpi-trixie': [
    ...['libopenmpi40', 'openmpi-common', 'libpmix2t64', 'libhwloc15', 'libevent-core-2.1-7t64', 'libmunge2'],
    ...['libevent-pthreads-2.1-7t64', 'libudev1', 'libcap2', 'libnuma1', 'libnl-3-200', 'libnl-route-3-200'],
    ...['libibverbs1', 'librdmacm1t64', 'libfabric1', 'libpsm2-2', 'libucx0', 'ibverbs-providers'],
  ],
} as const satisfies Record<string, readonly string[]>

export type MpiImage = keyof typeof MPI_PACKAGES

/** The image with `programs` in /opt/bin; pushed under its own name. */
export async function publishMpi(
  registry: Registry,
  name: MpiImage,
  programs: Readonly<Record<string, string>>,
  more: readonly TarEntry[] = [],
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
      layers: [await packagesOf(name), makeTar([...folders, ...files, ...more])],
      compression: 'none',
      env: ['PATH=/opt/bin:/usr/bin:/bin'],
    })
    return await registry.push(layout, `${name}:1`)
  } finally {
    rmSync(layout, { recursive: true, force: true })
  }
}

async function packagesOf(name: MpiImage): Promise<Buffer> {
  const path = join(CACHE_DIR, `${name}-v${RECIPE_VERSION}.tar`)
  if (!existsSync(path)) {
    const folder = `${path}.${process.pid}`
    await unpackPackages(name.split('-').at(-1) ?? '', [...COMMON, ...MPI_PACKAGES[name]], folder)
    const tar = `${folder}.tar`
    await must(['tar', '--owner=0', '--group=0', '--numeric-owner', '-C', folder, '-cf', tar, '.'])
    rmSync(folder, { recursive: true })
    renameSync(tar, path)
  }
  return readFileSync(path)
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
    await must(['apt-get', ...options, '-qq', 'download', ...packages], { ...limits, cwd: join(apt, 'debs') })
    for (const part of ['usr/bin', 'usr/lib', 'usr/lib64', 'etc', 'tmp'])
      mkdirSync(join(folder, part), { recursive: true })
    const unpack = [
      'for d in "$0"/*.deb; do dpkg-deb --fsys-tarfile "$d" |',
      'tar -x -C "$1" --keep-directory-symlink --exclude=./usr/share --exclude="*/gconv"; done;',
      'ldconfig -r "$1"; ln -sf busybox "$1/usr/bin/sh"',
    ].join(' ')
    const merge = 'cd "$0" && ln -s usr/lib lib && ln -s usr/lib64 lib64 && ln -s usr/bin bin'
    await must(['sh', '-ec', merge, folder])
    await must(['sh', '-ec', unpack, join(apt, 'debs'), folder], limits)
  } finally {
    rmSync(apt, { recursive: true, force: true })
  }
}

/** Compiled with an MPI of this machine. @returns the program's path */
export async function compileProbe(folder: string, compiler: string): Promise<string> {
  const program = join(folder, compiler.replace('mpicc.', 'probe-'))
  const source = join(import.meta.dirname, 'mpi_probe.c')
  const start = process.arch === 'x64' ? ['-nostartfiles'] : []
  await must([compiler, '-O1', '-no-pie', ...start, '-o', program, source])
  return program
}
