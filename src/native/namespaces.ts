// SPDX-License-Identifier: Apache-2.0
/** What a container is built from, and what comes of it; src/native.ts builds it. */

export type MountStep =
  /** Bind of a host path (opened with the user's rights in the job's mount namespace unless `trusted`). */
  | {
      kind: 'bind'
      source: string
      target: string
      /** mount_setattr names: ro, rw, nosuid, nodev, noexec; propagation: private, slave, shared, unbindable. */
      flags: string[]
      recursive: boolean
      /** Create the target (in the overlay's upper directory) as the source's kind. */
      create: 'auto' | 'file' | 'dir' | 'no'
      /** true: a site/system mount, opened as root, missing source is skipped when `optional`. */
      trusted: boolean
      optional: boolean
      /** true: if the target is a symlink in the image, replace it by a file instead of following it. */
      replaceLink: boolean
      /** A copy of the (small, trusted) file instead of a mount, which the user may change. */
      plain?: boolean
    }
  | { kind: 'tmpfs'; target: string; options: string; flags: string[]; mode: number }
  /** The POSIX message queues of the container's ipc namespace (its own with unshare 'ipc', else the job's). */
  | { kind: 'mqueue'; target: string; flags: string[] }
  /** Processes of the container's own pid namespace, mounted after all else: with unshare 'pid' alone. */
  | { kind: 'proc'; target: string }
  /** Pseudo-terminals of the container's own. */
  | { kind: 'devpts'; target: string; flags: string[] }
  /**
   * A small file with this content appears at target, read-only; `plain`: as a file of the root itself, which its user
   * may change. `optional`: only where its directory is there.
   */
  | {
      kind: 'file'
      target: string
      content: Uint8Array
      mode: number
      replaceLink: boolean
      plain?: boolean
      optional?: boolean
    }
  /**
   * The user's. `optional`: nothing fails where it cannot be made. `writable`: a mount of its own, with what is there
   * already, that a read-only root does not make read-only.
   */
  | { kind: 'dir'; target: string; mode: number; optional?: boolean; writable?: boolean }
  | { kind: 'symlink'; target: string; to: string }
  | { kind: 'umount'; target: string }

export interface NamespaceSpec {
  /** Root file system: squashfs image below, private upper on tmpfs (or `upper` directory on disk) above. */
  image:
    | { device: string }
    /** Opened as the user in the job's mount namespace, or, trusted, as root in the worker's. */
    | { directory: string; trusted?: boolean }
  /** Remount the finished root read-only. */
  readonly: boolean
  /** BuiltNamespace.upper and made are wanted; upper not with `upperDir`, which has a path. */
  keepUpper?: boolean
  /** Size option of the tmpfs that holds upper and work directories, e.g. "50%"; ignored with upperDir. */
  upperSize: string
  upperDir?: string
  /** A block device with an ext4 for this build alone; ignored with upperDir. */
  upperDevice?: string
  /** Asks for BuiltNamespace.rootNs, so that others can use the same writable root. */
  keepRoot?: boolean
  /** A borrowed rootNs: its root is used; image and upperDir are not looked at. */
  rootNs?: number
  uid: number
  gid: number
  /** Supplementary groups, mapped identically. */
  gids: number[]
  /** Ids inside: uid_map "inside uid 1". Equal to uid/gid without root remapping. */
  insideUid: number
  insideGid: number
  /** Files of root in the image appear as the user's (MOUNT_ATTR_IDMAP); false where the kernel cannot. */
  idmap: boolean
  mounts: MountStep[]
  /** New namespaces besides user and mount. */
  unshare: ('net' | 'ipc' | 'uts' | 'pid')[]
  /** With unshare 'pid': the static program that becomes its first process. */
  init?: string
  /** Job's own namespaces to build below; absent: the worker's. Borrowed fds. */
  mountNs?: number
  userNs?: number
  /** Directory that exists and may be covered in the private mount namespace while building. */
  staging: string
  /**
   * Only a mount namespace for an engine or a hook to start in: the job's, and on `staging` root/ (the prepared root, with
   * `program`, if any, as its file `name`), work/ (with `files`) and run/, the last two the user's. Directories of `hidden` are
   * empty in it.
   */
  view?: {
    program: string
    name: string
    files: { name: string; content: string }[]
    hidden: readonly string[]
  }
  /** The root is what an engine made of a view; image and upper are not looked at. Borrowed fds. */
  engine?: EngineRoot
}

export interface EngineRoot {
  mountNs: number
  /** O_PATH of the root directory of a process in there. */
  root: number
  /** BuiltNamespace.prepared of the view. */
  prepared: number
  /** view.name: must be there, and is removed. */
  name: string
  /** Path in `root` at which the prepared root is. */
  inside: string
}

export interface BuiltNamespace {
  /** Owned by the caller; in the order of setns: user first. A view has none. */
  userNs: number
  mountNs: number
  netNs?: number
  ipcNs?: number
  utsNs?: number
  pidNs?: number
  /** Of the pid namespace: all in it ends when every copy of this socket is closed, or by endLease(). */
  lease?: number
  /** Its first process, as the worker numbers it. */
  first?: number
  /** With keepRoot: holds the root while open. Closing the last use may sync the file system below: never on the loop. */
  rootNs?: number
  /** The upper directory, with keepUpper. */
  upper?: number
  /** Of a view: its root, through a mount that can be written to. */
  prepared?: number
  /** With keepUpper: what the build itself put into the root's file system. */
  made: MadeEntry[]
  /** Things the user should know: a skipped optional mount, a kernel fallback. */
  notes: string[]
}

/** A mount point, or a plain file or link. */
export interface MadeEntry {
  /** Relative to the root, without links. */
  path: string
  /** SHA-256 in hex of a file's content or a link's target; '': a directory or an empty file. */
  digest: string
}
