// SPDX-License-Identifier: Apache-2.0
/**
 * A squashfs file that somebody names by path. Mounted as it is when only root can have written it; else the kernel
 * gets a copy that was verified after nobody could write it any more.
 */
import { fstat, read } from 'node:fs'
import { promisify } from 'node:util'
import { isSif, SIF_MAGIC_BYTES } from '../image/sif.js'
import type { LoopImage, Native } from '../native.js'
import { BerthError } from '../report/errors.js'
import { type Access, openUserFile } from './access.js'

const readAt = promisify(read)
const status = promisify(fstat)

const MAGIC = 'hsqs'
/** Opened files whose mount nobody asked for; each is one descriptor. */
const FILES_MAX = 64

/** Begins the key of a file that is mounted itself. */
const TRUSTED = 'file-'

export function isTrustedKey(key: string): boolean {
  return key.startsWith(TRUSTED)
}

export interface OpenedFile {
  fd: number
  /** Names the content: device, inode and times of the file. */
  key: string
  /** Only root can have written it: `fd` itself may be mounted. */
  trusted: boolean
  sif: boolean
  size: number
  /** Seconds since the epoch. */
  modified: number
}

/** The caller owns `fd`. @throws BerthError BERTH_EIMAGEFILE */
export async function openSquashfs(native: Native, path: string, access: Access): Promise<OpenedFile> {
  const fd = await openUserFile(native, access, path)
  try {
    const { buffer } = await readAt(fd, Buffer.alloc(SIF_MAGIC_BYTES), 0, SIF_MAGIC_BYTES, 0)
    const isSquashfs = buffer.toString('latin1', 0, MAGIC.length) === MAGIC
    const sif = isSif(buffer)
    if (!isSquashfs && !sif) {
      const next = 'what podman and docker save is oci-archive:FILE or docker-archive:FILE'
      throw new BerthError('BERTH_EIMAGEFILE', { path, problem: 'is no squashfs file, and no SIF', next })
    }
    // Of a SIF only the importer knows where its squashfs begins.
    const trusted = !sif && (await native.onlyRootWrote(fd))
    const { dev, ino, size, mtimeNs, ctimeNs } = await status(fd, { bigint: true })
    return {
      fd,
      key: `${trusted ? TRUSTED : 'copy-'}${[dev, ino, size, mtimeNs, ctimeNs].join('-')}`,
      trusted,
      sif,
      size: Number(size),
      modified: Number(mtimeNs / 1_000_000_000n),
    }
  } catch (error) {
    native.closeFd(fd)
    throw error
  }
}

/** Trusted files between ensure() and hold(): the descriptor that was checked is the one that is mounted. */
export class TrustedFiles {
  private readonly opened = new Map<string, number>()

  constructor(private readonly native: Native) {}

  /** Takes over `fd`. */
  keep(key: string, fd: number): void {
    const old = this.opened.get(key)
    if (old !== undefined) this.native.closeFd(old)
    this.opened.delete(key)
    this.opened.set(key, fd)
    const [first] = this.opened
    if (this.opened.size > FILES_MAX && first !== undefined) {
      this.native.closeFd(first[1])
      this.opened.delete(first[0])
    }
  }

  /** Also when its descriptor is gone: its path must not be opened again, as somebody may have changed what it names. */
  owns(key: string): boolean {
    return isTrustedKey(key)
  }

  async attach(key: string, path: string): Promise<LoopImage> {
    const fd = this.opened.get(key)
    if (fd === undefined)
      throw new BerthError('BERTH_EIMAGEFILE', {
        path,
        problem: 'is not open any more',
        next: 'run the step again',
      })
    this.opened.delete(key)
    try {
      return await this.native.attachImageFd(fd, 0)
    } finally {
      this.native.closeFd(fd)
    }
  }

  close(): void {
    for (const fd of this.opened.values()) this.native.closeFd(fd)
    this.opened.clear()
  }
}
