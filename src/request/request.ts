// SPDX-License-Identifier: Apache-2.0
/** What a user asked for, after the one grammar; canonical, plain data, the same on every node. */

export interface MountRequest {
  /** Absolute or relative host path; 'tmpfs'; 'umount'. */
  source: string
  kind: 'bind' | 'tmpfs' | 'umount'
  /** As written: absolute, or relative to the container's root; planning refuses one that leaves it. */
  target: string
  /** ro, rw, rprivate, …; for tmpfs its mount options (size=…). */
  flags: string[]
}

export type Namespace = 'net' | 'ipc' | 'uts' | 'pid'

/** auto: join, else reuse, else create. create: must be new. exec: must run. no_exec: never join what runs. */
export type NameMode = 'auto' | 'create' | 'exec' | 'no_exec'

/** Where the container holds: the job's steps only, the batch script too (pyxis' way), or all of the job. */
export type Scope = 'step' | 'batch' | 'job'

/**
 * auto: the node's library where it fits. host: the same, or an error. image: the image's own library, with the node's
 * process manager and fabric below it. off: nothing of these at all.
 */
export type MpiMode = 'auto' | 'host' | 'image' | 'off'

export type WritablePlace = 'memory' | 'disk'

/** The option names of the first issue come first; an absent optional value means: as the site says. */
export interface Request {
  /** As the user wrote it, after trimming; '' when only --container-name was given. */
  image: string
  /** '' means: the site's choice. */
  engine: string
  mounts: MountRequest[]
  workdir?: string
  /** Names whose host value wins over the image's. */
  env: string[]
  explain: boolean
  readonly?: boolean
  mountHome?: boolean
  remapRoot?: boolean
  entrypoint?: boolean
  entrypointLog?: boolean
  name?: { name: string; mode: NameMode }
  save?: string
  unshare: Namespace[]
  /** Size of the writable layer as given with --container-writable: "4G", "50%". */
  writableSize?: string
  /** Where it is, for a container without a name; undefined: as the site says. */
  writableOn?: WritablePlace
  mountCwd?: boolean
  /** Size of a private /dev/shm, as given: "8G", "50%". */
  shmSize?: string
  scope?: Scope
  /** The site's named sets of options. */
  profiles: string[]
  /** CDI names: vendor.com/class=name. */
  devices: string[]
  /** How far the node's MPI goes into the image; undefined: as the site says. */
  mpi?: MpiMode
  /** Of an environment file: values over the image's and the host's; null: not there at all. Origin: "environment". */
  variables?: Record<string, string | null>
  /** Of an environment file, by dotted name: profiles and hooks of the site may look at them. */
  annotations?: Record<string, string>
  /** false: without the mounts that the site makes in every container. */
  siteMounts?: boolean
  /** Words for the engine's own command line, under the site's policy. */
  engineArgs: string[]
  /** Where each value came from: flag, environment name, site file:line. Keyed by option name. */
  origins: Record<string, string>
  /** Shown once, before the payload; e.g. a flag ignored because no image was named. */
  warnings: string[]
}
