// SPDX-License-Identifier: Apache-2.0
/**
 * The plan: an OCI runtime spec (opencontainers/runtime-spec 1.2, the part berth uses) whose every part carries the
 * reason and the origin that put it there. Pure data; engines translate it, `--container-explain` prints it.
 */
import type { MountStep } from '../native.js'
import type { Namespace } from '../request/request.js'
import type { HookStage } from './hooks.js'
import type { LoaderEntry } from './loader_cache.js'
import type { MpiKeptCode } from './mpi_kept.js'

export interface Reason {
  /** Why the part is there, one clause. */
  reason: string
  /** Who asked: 'flag --container-mounts', 'BERTH_CONTAINER_ENV', 'image config', 'engine native', '/etc/berth/berth.conf:12'. */
  origin: string
}

export type PlannedMount = MountStep & Reason

/** One entry a name, so that the order in which a launcher applies them does not matter. */
export interface PlannedVariable extends Reason {
  name: string
  /** set: image over host. default: only where the task has none. copy: the task's variable `value`. unset: dropped. */
  action: 'set' | 'default' | 'copy' | 'unset'
  value?: string
  /** Search path that holds the host's value already. */
  extended?: true
}

/** A program that the site lets be run while a container is made or ends. */
export interface PlannedHook extends Reason {
  stage: HookStage
  /** On the host; of startContainer in the container. */
  path: string
  /** Without the program's own name. */
  args: string[]
  /** NAME=VALUE, all that it gets beside PATH. */
  env: string[]
  /** It is ended after so long. */
  seconds: number
  /** "sha256:…" that the program must have; '' for any. */
  digest: string
}

/** The code of a note that tells why an MPI of the image is kept. */
export interface KeptNote {
  code: MpiKeptCode
  note: string
}

/** What one contributor of hookup.ts adds to a plan. */
export interface HookupEdits {
  mounts: PlannedMount[]
  /** What the image's loader is told of, where it can be: hookup.ts makes one cache of all. */
  loader: LoaderEntry[]
  /** Over the image's own, below what the user and the site set. */
  variables: PlannedVariable[]
  /** Those of one stage run in this order. */
  hooks: PlannedHook[]
  /** For the user, before the payload: only what they can and should act on. */
  warnings: string[]
  /** One line each on what was done or left out and why: for --container-explain and the worker's log. */
  notes: string[]
  kept: KeptNote[]
}

/** OCI's names of the namespaces. */
type NamespaceType = 'user' | 'mount' | 'network' | 'ipc' | 'uts' | 'pid'

export const NAMESPACE_TYPES: Readonly<Record<Namespace, NamespaceType>> = {
  net: 'network',
  ipc: 'ipc',
  uts: 'uts',
  pid: 'pid',
}

export interface Plan {
  ociVersion: string
  engine: string
  image: { reference: string; digest: string; path: string; signer?: string }
  /** writableSize: limit of what is written to the root: bytes or "50%", of memory or of the store's file system. */
  root: { readonly: boolean; writableSize: string } & Reason
  process: {
    cwd: string
    cwdReason: Reason
    env: PlannedVariable[]
    /** Prefix of the command line (image entrypoint), usually empty. */
    args: string[]
    /** How args are run where there are some: whether their words are shown, whose host values they must leave. */
    entrypoint?: { log: boolean; keeps: string[] }
    noNewPrivileges: boolean
    user: { uid: number; gid: number; additionalGids: number[]; insideUid: number; insideGid: number }
  }
  mounts: PlannedMount[]
  namespaces: ({ type: NamespaceType } & Reason)[]
  annotations: Record<string, string>
  hooks: PlannedHook[]
  /** For the user, before the payload: what was asked for and has no effect. */
  warnings: string[]
  /** What the node added to the image or kept out of it, and why; one line each. */
  notes: string[]
  kept: KeptNote[]
}
