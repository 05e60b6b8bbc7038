// SPDX-License-Identifier: Apache-2.0
/** An image under a real overlay, changed by real programs; what it looks like is compared entry by entry. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Assembled, AssembleOptions, Native } from '../../../src/native.js'

const DIST = process.env.BERTH_TEST_DIST ?? join(import.meta.dirname, '../../../dist')
const ADDON = join(DIST, 'berth.node')
export const native = (fs.existsSync(ADDON) ? createRequire(import.meta.url)(ADDON) : {}) as Partial<Native>

export const missing =
  native.assembleSquash === undefined
    ? 'needs npm run build'
    : process.getuid?.() === 0
      ? undefined
      : 'root, to mount overlays'

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

export class SaveLab {
  readonly directory = fs.mkdtempSync(join(tmpdir(), 'berth-save-'))
  private readonly mounts: string[] = []
  private count = 0

  path(name: string): string {
    return join(this.directory, name)
  }

  fresh(name: string): string {
    return this.path(`${name}${this.count++}`)
  }

  /** A directory filled by a shell script. */
  tree(script: string): string {
    const directory = this.fresh('tree')
    fs.mkdirSync(directory)
    run('sh', '-euc', script.replaceAll('$T', directory))
    return directory
  }

  pack(tree: string, ...options: string[]): string {
    const image = this.fresh('base')
    run('mksquashfs', tree, image, '-no-progress', '-quiet', '-noappend', ...options)
    return image
  }

  mountImage(image: string): string {
    const point = this.fresh('mnt')
    fs.mkdirSync(point)
    run('mount', '-t', 'squashfs', '-o', 'loop,ro', image, point)
    this.mounts.push(point)
    return point
  }

  /** The image with a new upper on tmpfs, as a container has it. */
  overlay(image: string): { root: string; upper: string } {
    const lower = this.mountImage(image)
    const stage = this.fresh('stage')
    fs.mkdirSync(stage)
    run('mount', '-t', 'tmpfs', 'tmpfs', stage)
    this.mounts.push(stage)
    for (const part of ['upper', 'work', 'root']) fs.mkdirSync(join(stage, part))
    const upper = join(stage, 'upper')
    const { mode } = fs.statSync(lower)
    fs.chmodSync(upper, mode & 0o7777)
    const root = join(stage, 'root')
    const options = `lowerdir=${lower},upperdir=${upper},workdir=${join(stage, 'work')}`
    run('mount', '-t', 'overlay', '-o', `${options},index=off,metacopy=off,xino=off`, 'overlay', root)
    this.mounts.push(root)
    return { root, upper }
  }

  async save(
    image: string,
    upper: string,
    more: Partial<AssembleOptions> = {},
  ): Promise<{ path: string; done: Assembled }> {
    const path = this.fresh('saved')
    const fds = [
      fs.openSync(image, 'r'),
      fs.openSync(upper, fs.constants.O_DIRECTORY),
      fs.openSync(path, 'wx+'),
    ]
    const [base = -1, from = -1, out = -1] = fds
    const limits = { bytesMax: 1e12, entriesMax: 1e7 }
    try {
      const done = await assemble({
        ...{ image: base, upper: from, out, compressor: 'zstd', level: 1, threads: 2 },
        ...{ ...limits, opaque: this.opaque(upper), own: [], add: [] },
        ...more,
      })
      return { path, done }
    } finally {
      for (const fd of fds) fs.closeSync(fd)
    }
  }

  close(): void {
    for (const point of this.mounts.splice(0).reverse()) run('umount', '-l', point)
    fs.rmSync(this.directory, { recursive: true, force: true })
  }

  private opaque(upper: string): string[] {
    const found = run(
      'sh',
      '-c',
      `cd "${upper}" && getfattr -R -h -m trusted.overlay.opaque . 2>/dev/null || :`,
    )
    return found
      .split('\n')
      .flatMap((line) => (line.startsWith('# file: ') ? [line.slice('# file: '.length)] : []))
  }
}

function assemble(options: AssembleOptions): Promise<Assembled> {
  if (native.assembleSquash === undefined) throw new Error('no addon')
  return native.assembleSquash(options)
}

/** One line an entry: everything that a program can see of it. */
export function describe(root: string): string[] {
  const lines: { inode: string; words: string[] }[] = []
  const names = new Map<string, string[]>()
  const visit = (path: string, shown: string): void => {
    const status = fs.lstatSync(path)
    const kind = status.mode & 0o170000
    const content = status.isFile()
      ? createHash('sha256').update(fs.readFileSync(path)).digest('hex').slice(0, 16)
      : status.isSymbolicLink()
        ? fs.readlinkSync(path)
        : status.rdev
    const inode = `${status.dev} ${status.ino}`
    if (!status.isDirectory()) names.set(inode, [...(names.get(inode) ?? []), shown])
    const size = status.isDirectory() ? '' : status.size
    const mode = (status.mode & 0o7777).toString(8)
    const seconds = Math.floor(status.mtimeMs / 1000)
    const words = [shown, kind.toString(8), mode, status.uid, status.gid, size, seconds, content]
    lines.push({ inode, words: words.map(String) })
    if (!status.isDirectory()) return
    for (const name of fs.readdirSync(path).sort()) visit(join(path, name), join(shown, name))
  }
  visit(root, '/')
  // By the names that there are: overlayfs counts links of the image that it has parted.
  const links = (inode: string) => ((names.get(inode)?.length ?? 0) > 1 ? ` = ${names.get(inode)?.[0]}` : '')
  return lines.map(({ inode, words }) => words.join(' ') + links(inode))
}

/** user.* and security.capability of every entry. */
export function attributes(root: string): string {
  return run(
    'sh',
    '-c',
    `cd "${root}" && getfattr -R -h -d -e hex -m '^(user\\.|security\\.capability)' . 2>/dev/null | sort || :`,
  )
}
