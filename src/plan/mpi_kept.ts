// SPDX-License-Identifier: Apache-2.0
/** Why an image's MPI is kept: a code that programs go by, the words for people, and what would have to change. */

/** Code → what to change; '' where nothing is wrong. */
export const MPI_REMEDIES = {
  'no-mpi': 'an MPI that is linked into the program statically cannot be replaced',
  'no-family': 'name its directory with mpi_host in berth.conf if the node has one',
  abi: "build the program with an MPI of the node's ABI",
  // The image's own reaches process manager and fabric as it is, and the reason says how to have the node's.
  unnamed: '',
  'another-kept': 'see why the other Open MPI is kept, or leave one of them in the image',
  musl: 'build the image on a distribution with glibc',
  'unknown-libc': 'build the image on a distribution with glibc, its libc.so.6 at the usual place',
  machine: "use an image for the node's processor",
  'missing-library': 'install that library on the node, or let its ld.so.cache have the directory',
  modules: "install the modules of the node's Open MPI, or name another one with mpi_host",
  layers: 'leave the libraries of an Open MPI of the image beside each other, as it installs them',
  release: "use an image with the node's major release of Open MPI, or name one of the image's with mpi_host",
  symbols: "build the program with an MPI no newer than the node's",
  glibc:
    'build the image on a newer distribution, or name an MPI that was built on an older one with mpi_host',
  'gcc-runtime':
    'install a newer libstdc++ and libgcc in the image at that place (conda: libstdcxx, libgcc), or build the program without a way there',
} as const satisfies Readonly<Record<string, string>>

export type MpiKeptCode = keyof typeof MPI_REMEDIES

export interface MpiKept {
  code: MpiKeptCode
  /** One clause. */
  why: string
}

export function keptBy(code: MpiKeptCode, why: string): MpiKept {
  return { code, why }
}

/** Each remedy once; '' where there is none. */
export function remediesOf(kept: readonly MpiKept[]): string {
  return [...new Set(kept.map(({ code }) => MPI_REMEDIES[code]))].filter((text) => text !== '').join('; ')
}
