// SPDX-License-Identifier: Apache-2.0
/** What a user asked for, after the one grammar; canonical, plain data, the same on every node. */

export interface MountRequest {
  /** Absolute or relative host path; 'tmpfs'; 'umount'. */
  source: string
  kind: 'bind' | 'tmpfs' | 'umount'
  target: string
  /** ro, rw, rprivate, …; for tmpfs its mount options (size=…). */
  flags: string[]
}

export interface Request {
  /** As the user wrote it, after trimming; undefined: no container. */
  image: string
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
  name?: { name: string; mode: 'auto' | 'create' | 'exec' | 'no_exec' }
  save?: string
  unshare: ('net' | 'ipc' | 'uts')[]
  /** Where each value came from: flag, environment name, site file:line. Keyed by option name. */
  origins: Record<string, string>
  /** Shown once, before the payload; e.g. a flag ignored because no image was named. */
  warnings: string[]
}
