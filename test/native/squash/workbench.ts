// SPDX-License-Identifier: Apache-2.0
/** Converts layers with the command-line program, mounts the result by the kernel and lists trees entry by entry. */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { type TarEntry, tar } from './tar_writer.js'

const HERE = import.meta.dirname
const BUILD = join(HERE, '../../../build/test-squash')
/** native/core/squash as the addon has it, in rooms (native/rooms.mjs). */
const ADDON_OBJECTS = join(HERE, '../../../build/Release/obj.target/berth/build/rooms')

/**
 * Programs of one flavour share the objects of native/core/squash: compiling them is most of the cost. The plain ones are
 * those of the addon; clang++ needs half the time of g++ for the checked ones, which libFuzzer's targets share.
 */
const FLAVOURS = {
  plain: { compiler: 'g++', flags: [], built: ADDON_OBJECTS },
  sanitized: {
    compiler: 'clang++',
    flags: [
      '-fsanitize=fuzzer-no-link,address,undefined',
      '-fno-sanitize-recover=all',
      ...['-O1', '-gline-tables-only'],
    ],
    built: '',
  },
} as const

/** For the linker, of a program that libFuzzer runs. */
export const FUZZ_TARGET = '-fsanitize=fuzzer'

interface Building {
  flavour?: keyof typeof FLAVOURS
  /** Other sources, named from test/ too. */
  more?: readonly string[]
  /** For the linker alone. */
  link?: string
}

/** Builds a source of test/ with native/core/squash; answers the program's path. */
export function build(source = 'native/squash/convert_cli.cc', building: Building = {}): string {
  const { flavour = 'plain', more = [], link = '' } = building
  const { compiler, flags, built } = FLAVOURS[flavour]
  const directory = join(BUILD, flavour)
  execFileSync(join(HERE, 'build.sh'), [directory, source, ...flags], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, BUILT: built, CXX: compiler, MORE: more.join(' '), LINK: link },
  })
  return join(directory, basename(source, '.cc'))
}

export function run(command: string, ...args: string[]): string {
  return execFileSync(command, args, {
    encoding: 'latin1',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 28,
  })
}

interface Outcome {
  code: number
  error: string
  size: number
  entries: number
  bytes: number
  again: number
  diffIds: string[]
  captured?: number
}

export class Bench {
  readonly directory = fs.mkdtempSync(join(tmpdir(), 'berth-squash-'))
  private readonly mounts: string[] = []
  /** Files that were mounted once. */
  private readonly shown = new Set<string>()
  private count = 0

  constructor(readonly program: string) {}

  path(name: string): string {
    return join(this.directory, name)
  }

  /** Writes layers to files; lowest first. */
  save(layers: readonly Buffer[]): string[] {
    return layers.map((layer) => {
      const path = this.path(`layer${this.count++}`)
      fs.writeFileSync(path, layer)
      return path
    })
  }

  convert(
    layers: readonly string[],
    keys: Record<string, string | number> = {},
    output = this.path('image'),
  ): Outcome {
    const options = Object.entries(keys).flatMap(([key, value]) => [`-${key}`, String(value)])
    // A mount namespace that another test made meanwhile may hold the old mount: of the same file it would be shown again.
    if (this.shown.delete(output)) fs.rmSync(output)
    const done = spawnSync(this.program, [...options, output, ...layers], { encoding: 'utf8' })
    if (done.signal !== null) throw new Error(`the converter was killed by ${done.signal}: ${done.stderr}`)
    const empty = { size: 0, entries: 0, bytes: 0, again: 0, diffIds: [] }
    const answer = done.status === 0 ? (JSON.parse(done.stdout) as Partial<Outcome>) : {}
    return { ...empty, ...answer, code: done.status ?? -1, error: done.stderr.trim() }
  }

  mount(image = this.path('image')): string {
    const point = fs.mkdtempSync(join(this.directory, 'mnt-'))
    run('mount', '-t', 'squashfs', '-o', 'loop,ro', image, point)
    this.mounts.push(point)
    this.shown.add(image)
    return point
  }

  /** Converts layers of entries, which must succeed, and lists what the kernel shows. */
  merged(...layers: TarEntry[][]): Map<string, string> {
    const { error } = this.convert(this.save(layers.map((entries) => tar(...entries))))
    if (error !== '') throw new Error(error)
    const listing = list(this.mount())
    this.unmount()
    return listing
  }

  /** An empty directory in memory, until unmount(). */
  scratch(): string {
    const base = fs.mkdtempSync(join(this.directory, 'ref-'))
    run('mount', '-t', 'tmpfs', 'tmpfs', base)
    this.mounts.push(base)
    return base
  }

  /** What podman and containerd show: each layer unpacked alone, whiteouts translated, stacked by overlayfs. */
  overlay(layers: readonly string[]): string {
    const base = this.scratch()
    const lowers = layers.map((layer, i) => {
      const lower = join(base, String(i))
      fs.mkdirSync(lower)
      const options = [
        '--numeric-owner',
        '--same-owner',
        '-p',
        '--xattrs',
        '--xattrs-include=*',
        '--delay-directory-restore',
      ]
      run('tar', '-C', lower, ...options, '-xf', layer)
      translateWhiteouts(lower)
      return lower
    })
    const merged = join(base, 'merged')
    for (const name of ['merged', 'empty']) fs.mkdirSync(join(base, name))
    const stack = [...lowers.reverse(), join(base, 'empty')].join(':')
    run('mount', '-t', 'overlay', 'overlay', '-o', `ro,lowerdir=${stack}`, merged)
    this.mounts.push(merged)
    return merged
  }

  unmount(): void {
    while (this.mounts.length > 0) run('umount', this.mounts.pop() as string)
  }

  close(): void {
    this.unmount()
    fs.rmSync(this.directory, { recursive: true, force: true })
  }
}

function translateWhiteouts(directory: string): void {
  for (const item of fs.readdirSync(directory, { withFileTypes: true, encoding: 'buffer' })) {
    const name = item.name.toString('latin1')
    const path = join(directory, name)
    if (item.isDirectory() && /^[\x20-\x7e]*$/.test(name)) translateWhiteouts(path)
    if (!name.startsWith('.wh.')) continue
    const times = fs.statSync(directory)
    fs.rmSync(path)
    if (name === '.wh..wh..opq') run('setfattr', '-n', 'trusted.overlay.opaque', '-v', 'y', directory)
    else if (!fs.existsSync(join(directory, name.slice(4))))
      run('mknod', join(directory, name.slice(4)), 'c', '0', '0')
    fs.utimesSync(directory, times.atime, times.mtime)
  }
}

/** One line an entry: everything that a conversion must keep. Hard links name the first path of their group. */
export function list(root: string): Map<string, string> {
  const lines = new Map<string, string>()
  const groups = new Map<number, string>()
  const xattrs = listXattrs(root)
  const visit = (path: Buffer): void => {
    const full = path.length === 0 ? Buffer.from(root) : Buffer.concat([Buffer.from(`${root}/`), path])
    const status = fs.lstatSync(full)
    const name = path.toString('latin1')
    const parts = [status.mode.toString(8), status.uid, status.gid, Math.floor(status.mtimeMs / 1000)]
    if (status.isFile()) parts.push(status.size, status.size < 1 << 28 ? digest(full) : 'large')
    if (status.isSymbolicLink()) parts.push(fs.readlinkSync(full, 'latin1'))
    if (status.isCharacterDevice() || status.isBlockDevice()) parts.push(status.rdev)
    if (!status.isDirectory() && status.nlink > 1) {
      if (!groups.has(status.ino)) groups.set(status.ino, name)
      parts.push(`links ${status.nlink} ${groups.get(status.ino)}`)
    }
    lines.set(name, [...parts, xattrs.get(name) ?? ''].join(' ').trim())
    if (!status.isDirectory()) return
    const names = fs.readdirSync(full, { encoding: 'buffer' }).sort(Buffer.compare)
    for (const child of names)
      visit(path.length === 0 ? child : Buffer.concat([path, Buffer.from('/'), child]))
  }
  visit(Buffer.alloc(0))
  return lines
}

function digest(path: Buffer): string {
  return createHash('sha256').update(fs.readFileSync(path)).digest('hex')
}

function listXattrs(root: string): Map<string, string> {
  const text = spawnSync(
    'getfattr',
    ['-R', '-P', '-h', '-d', '-m', '^(user|security)\\.', '-e', 'hex', '.'],
    {
      cwd: root,
      encoding: 'latin1',
      maxBuffer: 1 << 28,
    },
  ).stdout
  const found = new Map<string, string>()
  for (const part of text.split('\n\n')) {
    const [head, ...rows] = part.split('\n')
    const name = head
      ?.replace(/^# file: /, '')
      .replace(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)))
    if (name !== undefined && rows.length > 0)
      found.set(
        name === '.' ? '' : name,
        rows
          .filter((row) => row !== '')
          .sort()
          .join(' '),
      )
  }
  return found
}

/** Differences of two listings, by path; the root's own line is left out unless asked for. */
export function differences(a: Map<string, string>, b: Map<string, string>, withRoot = false): string[] {
  const found: string[] = []
  for (const name of new Set([...a.keys(), ...b.keys()]))
    if ((withRoot || name !== '') && a.get(name) !== b.get(name))
      found.push(`${name}: ${a.get(name)} | ${b.get(name)}`)
  return found
}
