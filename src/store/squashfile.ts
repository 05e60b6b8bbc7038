// SPDX-License-Identifier: Apache-2.0
/** A squashfs file that somebody names by path: mounted as it is when only root can have written it. */
import { fstatSync, read } from 'node:fs'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import type { ImageConfig, StoredImage } from '../image/image.js'
import type { LoopImage, Native } from '../native.js'
import { BerthError } from '../report/errors.js'
import { type Access, openUserFile } from './access.js'

const readAt = promisify(read)

const MAGIC = 'hsqs'
/** Opened files whose mount nobody asked for; each is one descriptor. */
const FILES_MAX = 64

/** A file without a json beside it says nothing about how to start it. */
const NO_CONFIG: ImageConfig = {
  env: [],
  entrypoint: [],
  cmd: [],
  workdir: '',
  user: '',
  labels: {},
  architecture: '',
}

export class SquashFiles {
  /** The descriptor that was checked is the one that is mounted. */
  private readonly opened = new Map<string, number>()

  constructor(private readonly native: Native) {}

  /** @throws BerthError BERTH_EIMAGEFILE, BERTH_ESQUASHFS */
  async open(path: string, access: Access): Promise<StoredImage> {
    const fd = await openUserFile(this.native, access, path)
    try {
      const { buffer } = await readAt(fd, Buffer.alloc(MAGIC.length), 0, MAGIC.length, 0)
      if (buffer.toString('latin1') !== MAGIC) {
        throw new BerthError('BERTH_EIMAGEFILE', { path, problem: 'is no squashfs file' })
      }
      if (!(await this.native.onlyRootWrote(fd))) {
        throw new BerthError('BERTH_ESQUASHFS', {
          path,
          problem: 'others than root can write it, and this version of berth cannot verify such files yet',
        })
      }
    } catch (error) {
      this.native.closeFd(fd)
      throw error
    }
    const { dev, ino, size, mtimeMs, ctimeMs } = fstatSync(fd)
    const key = `file-${dev}-${ino}-${size}-${Math.round(mtimeMs)}-${Math.round(ctimeMs)}`
    this.keep(key, fd)
    return {
      key,
      digest: '',
      path: resolve(access.cwd, path),
      size,
      config: NO_CONFIG,
      passwd: '',
      group: '',
      layers: [],
      created: Math.round(mtimeMs / 1000),
    }
  }

  async attach(image: StoredImage): Promise<LoopImage> {
    const fd = this.opened.get(image.key)
    if (fd === undefined) {
      throw new BerthError('BERTH_EIMAGEFILE', { path: image.path, problem: 'is not open any more' })
    }
    this.opened.delete(image.key)
    try {
      return await this.native.attachImageFd(fd, { directIo: true, offset: 0 })
    } finally {
      this.native.closeFd(fd)
    }
  }

  close(): void {
    for (const fd of this.opened.values()) this.native.closeFd(fd)
    this.opened.clear()
  }

  private keep(key: string, fd: number): void {
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
}
