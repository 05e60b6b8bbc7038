// SPDX-License-Identifier: Apache-2.0
/** A file system of a kind that the machine's own may not be, in a file behind a loop device. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

/** How each is made; XFS needs 300 MB, of which nothing is written. */
const KINDS = {
  ext4: {
    megabytes: 16,
    make: ['mkfs.ext4', '-q', '-m', '0', '-O', '^has_journal', '-E', 'lazy_itable_init=0'],
  },
  xfs: { megabytes: 320, make: ['mkfs.xfs', '-q', '-m', 'reflink=1'] },
} as const
type Kind = keyof typeof KINDS

/** What keeps a test from having such a disk here; undefined: nothing. */
export function missingFor(kind: Kind): string | undefined {
  if (process.getuid?.() !== 0) return 'root, to mount'
  const { make } = KINDS[kind]
  if (spawnSync(make[0], ['-V']).status !== 0) return make[0]
  const isKnown = () => new RegExp(`\\b${kind}$`, 'm').test(readFileSync('/proc/filesystems', 'utf8'))
  return isKnown() || spawnSync('modprobe', ['-q', kind]).status === 0 ? undefined : `a kernel with ${kind}`
}

/** Of the fields of a block device's stat. */
const SECTORS_WRITTEN = 6

export class LoopDisk {
  /** Where it is mounted. */
  readonly path: string
  private readonly file: string

  constructor(folder: string, kind: Kind, megabytes: number = KINDS[kind].megabytes) {
    const { make } = KINDS[kind]
    this.path = join(folder, kind)
    this.file = join(folder, `${kind}.disk`)
    mkdirSync(this.path)
    writeFileSync(this.file, '')
    truncateSync(this.file, megabytes << 20)
    execFileSync(make[0], [...make.slice(1), this.file])
    execFileSync('mount', ['-o', 'loop', this.file, this.path])
  }

  /** Bytes, when all that was written has its place. */
  free(): number {
    execFileSync('sync', ['-f', this.path])
    const { bfree, bsize } = statfsSync(this.path)
    return bfree * bsize
  }

  /** Bytes that ever went to it, when all that was written has (sectors of 512 bytes: block/stat of the kernel's documentation). */
  written(): number {
    execFileSync('sync', ['-f', this.path])
    const device = execFileSync('findmnt', ['-n', '-o', 'SOURCE', this.path], { encoding: 'utf8' }).trim()
    const counts = readFileSync(`/sys/block/${basename(device)}/stat`, 'utf8')
      .trim()
      .split(/\s+/)
    return Number(counts[SECTORS_WRITTEN]) * 512
  }

  close(): void {
    execFileSync('umount', [this.path])
    rmSync(this.file)
  }
}
