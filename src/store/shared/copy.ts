// SPDX-License-Identifier: Apache-2.0
/** A squashfs that another node has published becomes one of this node's own. */
import { unlink } from 'node:fs/promises'
import type { Native } from '../../native.js'
import type { StoreRecord } from '../record.js'
import type { Shelf } from '../shelf.js'

/** A full disk is told as ENOSPC by the file system and as EDQUOT by quotas. */
const NO_SPACE = ['ENOSPC', 'EDQUOT']

/**
 * @param fill writes the file and answers whether it is what was published
 * @returns the record here; 'full': not even after collecting
 */
export async function takeCopy<O extends string>(
  native: Native,
  shelf: Shelf,
  record: StoreRecord,
  fill: (fd: number) => Promise<'copied' | O>,
): Promise<StoreRecord | Exclude<O, 'copied'> | 'full'> {
  shelf.collect(record.size)
  for (let tries = 0; ; tries++) {
    try {
      return await copyOnce(native, shelf, record, fill)
    } catch (error) {
      if (!NO_SPACE.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      if (tries > 0 || shelf.collect(record.size, record.size).length === 0) return 'full'
    }
  }
}

async function copyOnce<O extends string>(
  native: Native,
  shelf: Shelf,
  record: StoreRecord,
  fill: (fd: number) => Promise<'copied' | O>,
): Promise<StoreRecord | Exclude<O, 'copied'>> {
  const { fd, name } = native.openTemporary(shelf.directory.temporary)
  try {
    const outcome = await fill(fd)
    if (outcome !== 'copied') return outcome as Exclude<O, 'copied'>
    const path = shelf.directory.imagePath(record.key)
    await native.publish(fd, path, name)
    return shelf.admit({ ...record, path })
  } finally {
    native.closeFd(fd)
    // Once published it is gone.
    if (name !== undefined) await unlink(name).catch(() => {})
  }
}
