// SPDX-License-Identifier: Apache-2.0
/**
 * The only import of the addon. Every call takes plain data and answers plain data; every failure is an Error with
 * `code` (errno name), `errno`, `syscall` and `path` (see core/result.hh). Asynchronous calls run on libuv's pool.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { ElfFacts, ImageScan, ScanOptions } from './native/elf.js'
import type { BuiltNamespace, NamespaceSpec } from './native/namespaces.js'
import type { Assembled, AssembleOptions, NativeSquash, SquashOptions } from './native/squash.js'
import { DIST } from './site/dist.js'

export type * from './native/elf.js'
export type * from './native/namespaces.js'
export type * from './native/squash.js'

/** errno-carrying failure, as thrown by every function below. */
export interface NativeError extends Error {
  code: string
  errno: number
  syscall: string
  path?: string
  /** buildNamespace: index of the mount step that failed. */
  step?: number
}

export interface Peer {
  pid: number
  uid: number
  gid: number
}

/** A unix stream socket that carries file descriptors. Data arrives in arbitrary pieces; framing is frame.ts'. */
export interface NativeSocket {
  /** SO_PEERCRED at connect time. */
  readonly peer: Peer
  /** Sends all of `data`; `fds` go with its first byte and stay owned by the caller. Queued, never blocks. */
  send(data: Uint8Array, fds?: readonly number[]): void
  /** Stops/continues reading (back-pressure). */
  pause(): void
  resume(): void
  /** Flushes what is queued, then closes. */
  end(): void
  close(): void
  unref(): void
}

export interface SocketHandler {
  /** `fds` are open, CLOEXEC and owned by the receiver. */
  data(bytes: Buffer, fds: number[]): void
  /** Called once, after EOF, error or close(). */
  closed(error?: NativeError): void
}

export interface NativeListener {
  close(): void
  unref(): void
}

export interface LoopImage {
  /** Loop device, opened read-only, LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY: closing it frees the device. */
  loopFd: number
  /** /dev/loopN */
  device: string
  /** Detached mount that keeps the superblock alive, so that each step's mount is a lookup and not a read. */
  mountFd: number
}

export interface ChangeOptions {
  /**
   * rename replaces `other`; probe asks whether files can be made, exists for `name`. create answers a descriptor, of a file
   * without a name where the file system can, which the rename is then told of.
   */
  action: 'create' | 'rename' | 'remove' | 'probe' | 'exists'
  /** An open directory; O_PATH is enough. */
  directory: number
  name: string
  other?: string
  nameless?: number
  uid: number
  gid: number
  gids: number[]
  /** Permissions of a created file, whatever the umask. */
  mode?: number
  /** rename: whether the directory is fsynced, by default it is. */
  durable?: boolean
}

export interface User {
  name: string
  uid: number
  gid: number
  home: string
  shell: string
}

export interface KernelFeatures {
  release: string
  /** fsopen/fsmount/move_mount/mount_setattr (5.12). */
  mountApi: boolean
  squashfs: boolean
  squashfsIdmap: boolean
  overlay: boolean
  loop: boolean
  userNamespaces: boolean
  landlock: boolean
  pidfd: boolean
}

export interface SandboxOptions {
  /** Directories that may be read (landlock); nothing may be written. */
  read: string[]
  /** RLIMIT_FSIZE, bytes. */
  fileSizeMax: number
  /** Whether connect() to the network stays allowed. */
  network: boolean
  /** Keeps CAP_DAC_READ_SEARCH, for a process in a user namespace of one user's files. */
  readAny?: boolean
}

export interface Native {
  /** `@name`: an abstract one, open to all. */
  listen(path: string, mode: number, accepted: (socket: NativeSocket) => SocketHandler): NativeListener
  /** The same on an already bound fd (systemd or keeper activation). */
  listenFd(fd: number, accepted: (socket: NativeSocket) => SocketHandler): NativeListener
  connect(path: string, handler: SocketHandler): NativeSocket
  adopt(fd: number, handler: SocketHandler): NativeSocket
  socketPair(): [number, number]
  closeFd(fd: number): void
  /**
   * Calls `run` here and now, while no other thread of this process forks. For starting a program: libuv waits for the
   * end of a pipe, and a helper of buildNamespace() or openAs() that is forked meanwhile would keep it open for as long
   * as it waits for us. `run` may call nothing else of this interface.
   */
  withoutForks<T>(run: () => T): T
  /** Mounts `fd`, a mount that is in no namespace yet, on a directory of the worker's namespace. */
  showTree(fd: number, path: string): void
  /** Takes the topmost mount away, also while it is in use; none there is no error. */
  hideTree(path: string): void
  /**
   * Opens a path with the user's identity (fsuid, fsgid, groups), inside `mountNs` when given, relative to `cwd`.
   * With `copyMax` the answer is a copy in memory of a regular file of at most that many bytes (else EFBIG).
   * Files of FUSE servers that users started are EREMOTE.
   */
  openAs(options: {
    path: string
    cwd: string
    uid: number
    gid: number
    gids: number[]
    mountNs?: number
    flags: number
    copyMax?: number
  }): Promise<number>
  /** True when only root can have written the file: root-owned, not group/other-writable, and so all its parents. */
  onlyRootWrote(fd: number): Promise<boolean>
  /** O_TMPFILE in a directory (0600), or a temporary file where the file system has none: `name` is its whole path. */
  openTemporary(directory: string): { fd: number; name?: string }
  /** fsync, then linkat/rename into place (atomic, replaces nothing: EEXIST is success), then fsync the directory. */
  publish(fd: number, path: string, temporaryName?: string): Promise<void>
  /**
   * Removes a directory with all that is in it, though users write there meanwhile: never anything else. Nothing there is
   * no error; ENOTEMPTY: somebody does not stop writing. No thread is kept for long.
   */
  removeTree(path: string): Promise<void>
  /** Bytes on disk of what is below a directory; what comes and goes meanwhile is not counted. */
  treeSize(path: string): Promise<number>
  /** flock(2): the file is this process's until it has ended. False: it is another one's. */
  lockFile(fd: number): boolean
  /** Through the page cache (docs/decisions/0018-disk.md). */
  attachImage(path: string): Promise<LoopImage>
  /** @param offset of the image in the file, in bytes */
  attachImageFd(fd: number, offset: number): Promise<LoopImage>
  /**
   * Gives an empty file to a user, whose disk quota counts it, and that many bytes of the disk to the file. ENOSPC, EDQUOT:
   * so many are not there, or not for this user.
   */
  reserveFor(fd: number, options: { uid: number; bytes: number }): Promise<void>
  /** A writable loop device: it and the file are freed when the last descriptor and mount of it are closed. */
  attachDisk(fd: number): Promise<{ loopFd: number; device: string }>
  buildNamespace(spec: NamespaceSpec): Promise<BuiltNamespace>
  /** Closes BuiltNamespace.lease and ends its process, whoever else has a copy. */
  endLease(fd: number): void
  /** Inode number of an nsfs fd, to compare namespaces. */
  namespaceId(fd: number): string
  /** pidfd_open; `ended` is called once when the process has ended. */
  watchProcess(pid: number, ended: () => void): { close(): void; unref(): void }
  /** Start time of a process in clock ticks (field 22 of /proc/pid/stat), 0 when gone: tells a reused pid. */
  processStart(pid: number): number
  /** /proc/PID/environ; may never settle: a process can keep it from being read. E2BIG beyond `bytesMax`. */
  readEnvironment(pid: number, bytesMax: number): Promise<Buffer>
  /**
   * errno of access(2) for reading and writing, 0 where it is allowed, from inside the device cgroup of a process: 1
   * (EPERM) is the cgroup's no. Rejects where there is no such process or cgroup.
   */
  probeDevices(pid: number, paths: readonly string[]): Promise<number[]>
  /** Moves a process to the cgroups of another; to none when it cannot come into the freezer of that. */
  shareCgroups(pid: number, like: number): Promise<void>
  userByUid(uid: number): Promise<User | undefined>
  userByName(name: string): Promise<User | undefined>
  groupName(gid: number): Promise<string | undefined>
  kernelFeatures(): KernelFeatures
  sandbox(options: SandboxOptions): void
  squash(options: SquashOptions): NativeSquash
  /**
   * Copies a squashfs (`offset`: of a SIF partition) to the start of the empty file `to`: only what its superblock
   * claims, padded for a loop device. Resolves with the size. EUCLEAN: no squashfs; EFBIG: over sizeMax.
   */
  copySquashfs(
    from: number,
    to: number,
    options: { sizeMax: number; offset?: number; owners?: 'keep' | 'root' },
  ): Promise<number>
  /** All files of such a copy become root's, as with copySquashfs' `owners`. Resolves with its new size. */
  giveToRoot(fd: number): Promise<number>
  /**
   * Reads every table and block. The file must be one that nobody else can write (a copy): see
   * docs/decisions/0003-verify-before-mount.md. EUCLEAN: damaged, the message says where; EOPNOTSUPP: a compressor
   * or version that cannot be checked; EFBIG: over a limit. `entriesMax` counts names, `bytesMax` file content
   * without holes (defaults: 10 million, 1 TiB).
   */
  verifySquashfs(
    fd: number,
    options: { entriesMax?: number; bytesMax?: number; threads?: number; offset?: number },
  ): Promise<{ entries: number; bytes: number; size: number; compressor: string; blockSize: number }>
  /**
   * Small files of an image by path, without mounting it; links are followed inside the image. Paths that are
   * missing, no regular file or over 256 KiB are left out. Safe on unverified images.
   */
  readSquashfs(fd: number, paths: readonly string[]): Promise<Record<string, Buffer>>
  /** ELF files inside a squashfs; bounded, and safe on unverified images. */
  scanImage(fd: number, options: ScanOptions): Promise<ImageScan>
  /** One file of the host. Undefined: no ELF file. */
  readElf(fd: number, path: string, options: ScanOptions): Promise<ElfFacts | undefined>
  /** A new image from an image and what was changed above it: unchanged blocks are copied compressed. Ends with fsync when `durable`. */
  assembleSquash(options: AssembleOptions): Promise<Assembled>
  /** One change in a user's directory with that user's rights; 'create' resolves with a descriptor, others with -1. */
  changeAs(options: ChangeOptions): Promise<number>
  /**
   * Starts a program as the user in the user namespace of that user's images, with `fds` as 3, 4, … and behind them one
   * more: a list of the opaque directories of fds[upper]. close() ends and reaps it.
   */
  startSaver(options: {
    argv: string[]
    uid: number
    gid: number
    fds: number[]
    upper: number
  }): Promise<{ close(): void }>
}

export const native: Native = createRequire(import.meta.url)(join(DIST, 'berth.node')) as Native
