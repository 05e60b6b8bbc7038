// SPDX-License-Identifier: Apache-2.0
/** Why a directory cannot be the shared store: it holds what the kernel of every node mounts. */
import { constants } from 'node:fs'
import { access, lstat, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'

export interface ShareFailure {
  /** "is writable by its group" */
  problem: string
  /** What an operator can do. */
  fix: string
}

/** Below the directory: files of images, what is not finished, who is at work. */
export const FOLDERS = ['images', 'tmp', 'leases'] as const
const WRITABLE_BY_OTHERS = 0o022
const STICKY = 0o1000

/**
 * Undefined: only root and that account can put a file there. Looks at the directory, the folders in it and all that is
 * above it.
 */
export async function shareFailure(directory: string, uid: number): Promise<ShareFailure | undefined> {
  let real: string
  try {
    real = await realpath(directory)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    const problem = code === 'ENOENT' ? 'is not there' : `cannot be reached (${code})`
    return { problem, fix: `mount the file system, or make it: install -d -m 0700 -o ${uid} ${directory}` }
  }
  for (let path = real, isAbove = false; ; path = dirname(path), isAbove = true) {
    const found = await checkOne(path, uid, isAbove)
    if (found !== undefined) return found
    if (path === '/') break
  }
  for (const name of FOLDERS) {
    const found = await checkOne(join(real, name), uid, false).catch(() => undefined)
    if (found !== undefined) return found
  }
  return undefined
}

async function checkOne(path: string, uid: number, isAbove: boolean): Promise<ShareFailure | undefined> {
  const stat = await lstat(path)
  const { mode, uid: owner } = stat
  if (!stat.isDirectory()) return { problem: `${path} is no directory`, fix: `remove ${path}` }
  if (owner !== 0 && owner !== uid) {
    const fix = `chown ${uid} ${path}, or name that account: shared_store_user`
    return { problem: `${path} belongs to uid ${owner}, who could change images of all nodes`, fix }
  }
  // In a sticky directory of root's, nobody can move away what belongs to root or the account.
  if ((mode & WRITABLE_BY_OTHERS) === 0 || (isAbove && (mode & STICKY) !== 0)) return undefined
  return { problem: `${path} can be written by others than its owner`, fix: `chmod go-w ${path}` }
}

/** Asked by the account itself: on NFS with root_squash root may not. */
export function mayWrite(directory: string): Promise<boolean> {
  return access(directory, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  )
}
