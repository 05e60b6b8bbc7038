// SPDX-License-Identifier: Apache-2.0
/** A file without a name that one step writes to: whatever ends step, worker or node, the kernel frees it. */
import { unlinkSync } from 'node:fs'
import type { Native } from '../native.js'
import { BerthError } from '../report/errors.js'
import type { Shelf } from './shelf.js'

export interface StepFile {
  /** The caller's to close. */
  fd: number
  /** Quota and floor count it no more. */
  release(): void
}

/** Its bytes are the step's from now on: what it writes later meets no full disk. @throws BerthError BERTH_EWRITABLE */
export async function reserveStepFile(
  native: Native,
  shelf: Shelf,
  { uid, bytes }: { uid: number; bytes: number },
): Promise<StepFile> {
  shelf.directory.make()
  const release = shelf.reserve(bytes)
  if (release === undefined) throw noRoom(bytes, 'the store of this node has no room for them')
  let fd: number | undefined
  try {
    fd = openNameless(native, shelf)
    await native.reserveFor(fd, { uid, bytes })
    return { fd, release }
  } catch (error) {
    if (fd !== undefined) native.closeFd(fd)
    release()
    throw explain(error, bytes)
  }
}

/** An empty file of the store, whose directory is there; it ends with its last descriptor. */
export function openNameless(native: Native, { directory }: Shelf): number {
  const { fd, name } = native.openTemporary(directory.temporary)
  if (name !== undefined) unlinkSync(name)
  return fd
}

function explain(error: unknown, bytes: number): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  if (code === 'EDQUOT') return noRoom(bytes, 'your disk quota there does not allow them', error)
  if (code === 'ENOSPC' || code === 'EFBIG') return noRoom(bytes, 'the disk has no room for them', error)
  return error
}

function noRoom(bytes: number, why: string, cause?: unknown): BerthError {
  return new BerthError(
    'BERTH_EWRITABLE',
    {
      problem: `${bytes} bytes cannot be reserved: ${why}`,
      next: 'ask for less by --container-writable=disk:SIZE, or write to memory by --container-writable=memory',
    },
    { cause },
  )
}
