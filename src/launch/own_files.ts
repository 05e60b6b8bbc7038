// SPDX-License-Identifier: Apache-2.0
/**
 * Accounts that were added in a named container stay: a later start plans its passwd and group from what is there and
 * not from the image, and writes only what differs.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StoredImage } from '../image/image.js'
import type { Plan } from '../plan/spec.js'

/** As for the files of an image. */
const FILE_BYTES_MAX = 256 << 10
const { O_RDONLY, O_NOFOLLOW, O_DIRECTORY, O_NONBLOCK } = constants

/** The image as the container at `path` has made it. */
export function imageWithOwnFiles(image: StoredImage, path: string): StoredImage {
  return {
    ...image,
    passwd: readOwn(path, '/etc/passwd') ?? image.passwd,
    group: readOwn(path, '/etc/group') ?? image.group,
  }
}

/** Without the files that are there already: another instance may be reading them. */
export function withoutOwnFiles(plan: Plan, path: string): Plan {
  const mounts = plan.mounts.filter((mount) => {
    if (mount.kind === 'file' && mount.plain === true)
      return readOwn(path, mount.target) !== Buffer.from(mount.content).toString('utf8')
    return !(mount.kind === 'bind' && mount.plain === true && readOwn(path, mount.target) !== undefined)
  })
  return { ...plan, mounts }
}

/** The tree is its user's: no link is followed, nothing but a small regular file is read. */
function readOwn(path: string, file: string): string | undefined {
  const parts = file.split('/').filter((part) => part !== '')
  const name = parts.pop() ?? ''
  const open: number[] = []
  try {
    let at = openSync(join(path, 'upper'), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    open.push(at)
    for (const part of parts) {
      at = openSync(`/proc/self/fd/${at}/${part}`, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
      open.push(at)
    }
    const fd = openSync(`/proc/self/fd/${at}/${name}`, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    open.push(fd)
    const status = fstatSync(fd)
    return status.isFile() && status.size <= FILE_BYTES_MAX ? readFileSync(fd, 'utf8') : undefined
  } catch {
    return undefined
  } finally {
    for (const fd of open) closeSync(fd)
  }
}
