// SPDX-License-Identifier: Apache-2.0
/** What the kernel refused while a container was built, in the words of its user. */
import type { NamespaceSpec, NativeError } from '../native.js'
import { BerthError } from '../report/errors.js'

/** errno → clause, spelled as strerror(3) does where users of pyxis search for it. */
const CLAUSES: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EXDEV: 'Invalid cross-device link',
  EACCES: 'Permission denied',
  EROFS: 'Read-only file system',
  EPERM: 'operation not permitted',
  ENOTDIR: 'not a directory',
  ELOOP: 'too many symbolic links',
  ENOSPC: 'no space left, or a limit of the kernel on mounts or namespaces is reached',
  EINVAL: 'the kernel does not take these options',
  ETIMEDOUT: 'its file server does not answer',
}

/** Of a source and a target that do not fit each other. */
const UNFIT: Readonly<Record<string, string>> = {
  ENOTDIR: 'is a file there, and a directory cannot be mounted on it',
  EISDIR: 'is a directory there, and a file cannot be mounted on it: name the file in it',
}

/** What of a namespace may be at fault. */
type BuildParts = Pick<NamespaceSpec, 'image' | 'mounts'>

/** @returns a BerthError for a failed native call, anything else as it is */
export function explainBuildFailure(error: unknown, { image, mounts }: BuildParts): unknown {
  if (!isNativeError(error)) return error
  const path = error.path ?? ''
  const unfit = error.syscall === 'move_mount' ? UNFIT[error.code] : undefined
  const problem = unfit ?? CLAUSES[error.code] ?? error.code
  const mount = error.step === undefined ? undefined : mounts[error.step]
  if (mount === undefined && path !== '' && 'directory' in image && image.directory === path) {
    const next = 'dir: wants the directory of an unpacked root file system on the compute node'
    return new BerthError('BERTH_EIMAGEFILE', { path, problem, next }, { cause: error })
  }
  if (mount === undefined || (mount.kind === 'bind' && mount.trusted))
    return new BerthError('BERTH_ENAMESPACE', { syscall: error.syscall, path, problem }, { cause: error })
  if (mount.kind === 'bind' && mount.source === path && error.code === 'ENOENT')
    return new BerthError('BERTH_EMOUNTSOURCE', { path }, { cause: error })
  if (error.code === 'EXDEV')
    return new BerthError('BERTH_EMOUNTTARGET', { target: mount.target }, { cause: error })
  return new BerthError('BERTH_EMOUNT', { target: path || mount.target, problem }, { cause: error })
}

/** The addon names the mount step it was at by its index. */
function isNativeError(error: unknown): error is NativeError & { step?: number } {
  return error instanceof Error && 'syscall' in error && 'code' in error && typeof error.code === 'string'
}
