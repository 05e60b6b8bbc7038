// SPDX-License-Identifier: Apache-2.0
/** The disk of a step that writes there without a name: a file of the store, a loop device, ext4. */
import { close } from 'node:fs'
import { findProgram } from '../engine/installed.js'
import { startProgram } from '../native/spawn.js'
import { native } from '../native.js'
import { isWritable, writableLayer } from '../plan/writable.js'
import { BerthError } from '../report/errors.js'
import type { Request } from '../request/request.js'
import type { Site } from '../site/site.js'
import { parseSpace } from '../site/values.js'
import type { Store } from '../store/store.js'
import { bytesOf } from './open_store.js'
import type { Undo } from './undo.js'

export interface DiskRooms {
  site: Pick<Site, 'get' | 'origin'>
  store: Store
}

const PROGRAM = 'mkfs.ext4'
const BLOCK_BYTES = 4096
/** Below that ext4 is nothing but its own tables. */
const BYTES_MIN = 1 << 20
/** What every ext4 since Linux 4.x mounts; no journal: nobody reads it after a crash. */
const FEATURES =
  'none,extent,filetype,sparse_super,large_file,huge_file,flex_bg,dir_nlink,extra_isize,dir_index,64bit,ext_attr,uninit_bg'
/** One name for so many bytes, mke2fs' own default: environments of many small files fit. */
const BYTES_PER_INODE = 16_384
/** overlayfs keeps its marks in the inode itself. */
const INODE_BYTES = 256
const SAID_MAX = 500

/**
 * The device on which a step writes; undefined: it writes nothing, to memory, or under a name. All of it goes with
 * the undo stack and the last process of the container, whatever ends them.
 * @throws BerthError BERTH_EWRITABLE
 */
export async function makeStepDisk(
  { site, store }: DiskRooms,
  uid: number,
  request: Request,
  undo: Undo,
): Promise<string | undefined> {
  const { on, size } = writableLayer({ request, site })
  if (request.name !== undefined || on !== 'disk' || !isWritable({ request, site })) return undefined
  const program = findMaker(site)
  const file = await store.reserveFile(uid, diskBytes(site, size))
  try {
    await makeFilesystem(program, file.fd)
    const { device, loopFd } = await native.attachDisk(file.fd)
    undo.add('disk', () => {
      file.release()
      // The last one out waits for the file to go.
      close(loopFd, () => undefined)
    })
    return device
  } catch (error) {
    file.release()
    throw error
  } finally {
    native.closeFd(file.fd)
  }
}

/** Why no step could write to disk on this node. */
export function stepDiskFailure(site: DiskRooms['site']): BerthError | undefined {
  try {
    findMaker(site)
    return undefined
  } catch (error) {
    if (error instanceof BerthError) return error
    throw error
  }
}

function findMaker(site: DiskRooms['site']): string {
  const path = site.get('engine_path')
  const program = findProgram(PROGRAM, path.split(':'))
  if (program !== undefined) return program
  throw new BerthError('BERTH_EWRITABLE', {
    problem: `no ${PROGRAM} in ${path} on this node`,
    next: 'write to memory by --container-writable=memory, or ask the operators to install e2fsprogs',
  })
}

function diskBytes(site: DiskRooms['site'], size: string): number {
  const space = parseSpace(size) ?? { bytes: 0 }
  const bytes = Math.floor(bytesOf(space, site.get('store')) / BLOCK_BYTES) * BLOCK_BYTES
  if (bytes >= BYTES_MIN) return bytes
  throw new BerthError('BERTH_EWRITABLE', {
    problem: `${size} is less than a file system needs`,
    next: 'ask for 1M or more by --container-writable=disk:SIZE',
  })
}

async function makeFilesystem(program: string, fd: number): Promise<void> {
  const words = [
    '-q',
    '-F',
    '-b',
    String(BLOCK_BYTES),
    '-I',
    String(INODE_BYTES),
    '-i',
    String(BYTES_PER_INODE),
  ]
  // All of the file is zeros, and stays reserved.
  const more = ['-m', '0', '-O', FEATURES, '-E', 'lazy_itable_init=1,nodiscard', '/proc/self/fd/3']
  // A site's mke2fs.conf is for disks that last.
  const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', MKE2FS_CONFIG: '/dev/null' }
  const stdio = ['ignore', 'ignore', 'pipe', fd] as const
  const child = startProgram(native, program, [...words, ...more], { cwd: '/', env, stdio: [...stdio] })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-SAID_MAX)
  })
  const problem = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) =>
      resolve(code === 0 ? undefined : said.trim() || `ended with ${code ?? signal}`),
    )
  })
  if (problem === undefined) return
  throw new BerthError('BERTH_EWRITABLE', {
    problem: `${program}: ${problem}`,
    next: 'write to memory by --container-writable=memory, and tell the operators of this node',
  })
}
