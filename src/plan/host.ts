// SPDX-License-Identifier: Apache-2.0
/**
 * What hookup needs to know about the node: plain data, gathered by launch/host_facts.ts, so that planning touches
 * nothing. Each contributor adds the part it reads; an optional part that is absent was not found or not looked for.
 */

import type { MpiFamily, MpiRole } from '../image/facts.js'
import type { AcceleratorFacts } from './accelerators.js'

export interface HostFacts {
  /** As uname(2) says: x86_64, aarch64. */
  machine: string
  /** Devices, drivers and files that the step's devices and the site's profiles name. */
  accelerators?: AcceleratorFacts
  /** MPI installations, the site's own first. */
  mpi?: readonly HostMpi[]
  /** PMIx' client directories of this step that were found. */
  pmixClients?: readonly string[]
  /** Why something that the site names is not used; one line each. */
  problems?: readonly string[]
}

export interface HostLibrary {
  /** As others ask for it. */
  name: string
  /** The file itself, without links. */
  path: string
  soname: string
  needed: readonly string[]
  /** Highest version of glibc that it wants; '' for none. */
  glibc: string
  /** The same of GCC's runtimes: GLIBCXX_3.4.32, CXXABI_1.3.13, GCC_12.0.0. */
  runtime: readonly string[]
}

export interface HostMpiLibrary extends HostLibrary {
  defines: ReadonlySet<string>
}

export interface HostMpi {
  family: MpiFamily
  /** N of the C library's .so.N. */
  major: number
  /** EM_… of elf.h. */
  machine: number
  libraries: Partial<Record<MpiRole, HostMpiLibrary>>
  /** All that these need but the parts of glibc, by the name under which it is needed. */
  dependencies: ReadonlyMap<string, HostLibrary>
  /** Names that were not found on the node. */
  missing: readonly string[]
  /** 'ld.so.cache of this node', or file and line of the site's setting. */
  origin: string
  /** The site named it, by mpi_host or a profile. */
  named: boolean
  /** Of Open MPI, where its modules were found: what is of one build with it. */
  open?: HostOpenMpi
}

export interface HostOpenMpi {
  /** Bindings, and what they and the modules share, by SONAME. */
  parts: ReadonlyMap<string, HostMpiLibrary>
  /** What its modules ask for. */
  needed: readonly string[]
  /** Highest version of glibc that a module wants. */
  glibc: string
  /** And of GCC's runtimes. */
  runtime: readonly string[]
  /** What it reads at paths that were built in: modules, texts, settings; PMIx' modules. */
  directories: readonly string[]
}
