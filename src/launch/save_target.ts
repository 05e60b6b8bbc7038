// SPDX-License-Identifier: Apache-2.0
/** The file that --container-save names: its directory is opened as the user before the step starts, and kept. */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, fstat } from 'node:fs'
import { posix } from 'node:path'
import { promisify } from 'node:util'
import { type NativeError, native } from '../native.js'
import { explainSave, saveError } from './save_failure.js'

const status = promisify(fstat)

/** O_PATH of the generic ABI, which Node does not name; right for x86_64, arm64, ppc64le, riscv64 and s390x. */
const O_PATH = 0o10000000
const DIRECTORY = O_PATH | constants.O_DIRECTORY
/** What mksquashfs would leave, less the umask. */
const MODE = 0o666
/** A name beside the target's own, whose length may be at the limit already. */
const TEMPORARY_BYTES = 8

interface SaveAccess {
  uid: number
  gid: number
  gids: number[]
  cwd: string
  mountNs?: number
}

export interface SaveTarget {
  /** As the user wrote it. */
  path: string
  /** Open directory and the name in it. */
  directory: number
  name: string
  user: { uid: number; gid: number; gids: number[] }
}

/** @throws BerthError BERTH_ESAVE: a directory, or nothing can be written there */
export async function openTarget(path: string, access: SaveAccess): Promise<SaveTarget> {
  const { uid, gid, gids } = access
  const open = (name: string) => native.openAs({ ...access, path: name, flags: DIRECTORY })
  const existing = await open(path).catch(() => undefined)
  if (existing !== undefined) {
    closeSync(existing)
    throw saveError(path, 'target is a directory')
  }
  try {
    const directory = await open(posix.dirname(path))
    const target = { path, directory, name: posix.basename(path), user: { uid, gid, gids } }
    await native.changeAs({ ...target.user, action: 'probe', directory, name: path }).catch((error) => {
      closeSync(directory)
      throw error
    })
    return target
  } catch (error) {
    throw explainSave(path, error)
  }
}

export function closeTarget(target: SaveTarget): void {
  closeSync(target.directory)
}

/**
 * Calls `write` with a new file of the user's, which then takes the target's name; when anything fails nothing of it
 * stays, and what was there before does. Where the file system allows it the file has no name until then: nobody would
 * remove it for a worker that dies. `durable`: an older file is lost by it, so the new one must be on the disk.
 */
export async function replaceTarget(
  target: SaveTarget,
  umask: number,
  write: (fd: number, durable: boolean) => Promise<void>,
): Promise<void> {
  const { directory, name, user } = target
  const temporary = `.berth-${randomBytes(TEMPORARY_BYTES).toString('hex')}`
  const change = { ...user, directory, name: temporary }
  const durable = await existsAs(target)
  const fd = await native.changeAs({ ...change, action: 'create', mode: MODE & ~umask })
  try {
    const nameless = (await status(fd)).nlink === 0 ? { nameless: fd } : {}
    await write(fd, durable)
    await native.changeAs({ ...change, ...nameless, action: 'rename', other: name, durable })
  } catch (error) {
    await native.changeAs({ ...change, action: 'remove' }).catch(() => undefined)
    throw error
  } finally {
    closeSync(fd)
  }
}

/** Who may not look gets the careful way. */
async function existsAs({ directory, name, user }: SaveTarget): Promise<boolean> {
  return await native.changeAs({ ...user, directory, name, action: 'exists' }).then(
    () => true,
    (error: NativeError) => error.code !== 'ENOENT',
  )
}
