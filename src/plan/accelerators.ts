// SPDX-License-Identifier: Apache-2.0
/** What the planner knows about the node's devices and files: gathered by launch/accelerator_facts.ts, plain data. */
import type { CdiCatalog } from '../site/cdi.js'
import type { ProfileChoice } from './profile_choice.js'

/** A device node of the host. */
export interface HostNode {
  type: 'c' | 'b'
  major: number
  minor: number
  /** false: the step's cgroup does not let it be opened. Absent: no task of the step could be asked. */
  allowed?: boolean
}

/** The NVIDIA driver as its files on the host tell it; paths are those on the host. */
export interface NvidiaDriver {
  /** "550.54.15" */
  version: string
  /** Path and the other names that its directory has for it: libcuda.so.550.54.15 → libcuda.so.1, libcuda.so. */
  libraries: readonly HostLibrary[]
  /** The same for programs of 32 bits. */
  libraries32: readonly HostLibrary[]
  /** nvidia-smi and the like. */
  binaries: readonly string[]
  /** ICD files, sockets, pipes: where they are on the host, and inside. */
  files: readonly { path: string; target: string }[]
}

export interface HostLibrary {
  path: string
  names: readonly string[]
}

/** What a library of the host asks of whoever loads it. */
export interface LibraryNeed {
  bits: 32 | 64
  /** Highest version of glibc; '' for none. */
  glibc: string
  /** By which programs ask for it. */
  soname?: string
}

export interface AcceleratorFacts {
  cdi: CdiCatalog
  /** By host path: each that a device of this step or a rule of berth's names and that is there. */
  nodes: ReadonlyMap<string, HostNode>
  /** Host paths, of those that this step's devices and profiles name, that are there. */
  paths: ReadonlySet<string>
  /** Host library file → its other names in the same directory, and the one that ldconfig(8) would give it. */
  links: ReadonlyMap<string, readonly string[]>
  /** Host library file → what it needs; those that could not be read, or that others than root can write, are missing. */
  needs?: ReadonlyMap<string, LibraryNeed>
  /** Pattern of a profile → what it matches on the host. */
  globs: ReadonlyMap<string, readonly string[]>
  /** Hook files of profiles: directory → documents in order of name. */
  hooks: ReadonlyMap<string, readonly HookFile[]>
  nvidia?: NvidiaDriver
  /** The step's profiles; absent where there was something wrong with them, which the plan tells. */
  profiles?: ProfileChoice
  /** A device appears under a name in /dev that the host's has not. */
  newNames?: true
}

/** An OCI hook as podman and CRI-O read it (containers/common, oci-hooks.5). */
export interface HookFile {
  file: string
  /** Why it cannot be used; the rest is empty then. */
  problem?: string
  path: string
  args: readonly string[]
  env: readonly string[]
  /** Seconds. */
  timeout?: number
  stages: readonly string[]
  when: {
    always?: boolean
    /** Regular expressions: name → value. */
    annotations: Readonly<Record<string, string>>
    commands: readonly string[]
    hasBindMounts?: boolean
  }
}
