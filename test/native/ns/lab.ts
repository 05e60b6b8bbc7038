// SPDX-License-Identifier: Apache-2.0
/** A busybox image, namespaces on it and a way in: what the tests of this folder share. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BuiltNamespace, LoopImage, MountStep, NamespaceSpec, Native } from '../../../src/native.js'

export const DIST = process.env.BERTH_TEST_DIST ?? join(import.meta.dirname, '../../../dist')
const BUSYBOX = '/bin/busybox'
const APPLETS = [
  'sh',
  'ls',
  'cat',
  'id',
  'mount',
  'umount',
  'touch',
  'stat',
  'mkdir',
  'ln',
  'readlink',
  'chmod',
]
const MORE_APPLETS = [
  'rm',
  'echo',
  'sleep',
  'mknod',
  'grep',
  'hostname',
  'wget',
  'nc',
  'chroot',
  'ip',
  'true',
  'head',
]

/** An account that exists nowhere: nothing on the machine is its own. */
export const USER = { uid: 12_345, gid: 12_346, gids: [12_346, 20, 44] }

export function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root'
  if (!existsSync(join(DIST, 'berth.node'))) return 'needs npm run build'
  if (!existsSync(BUSYBOX)) return 'needs busybox-static'
  return undefined
}

export const ADDON = join(DIST, 'berth.node')

export function loadNative(): Native {
  return createRequire(import.meta.url)(ADDON) as Native
}

export type Bind = Extract<MountStep, { kind: 'bind' }>

export function bind(source: string, target: string, more: Partial<Bind> = {}): Bind {
  const rest = {
    flags: [],
    recursive: true,
    create: 'auto',
    trusted: false,
    optional: false,
    replaceLink: false,
  }
  return { kind: 'bind', source, target, ...rest, ...more } as Bind
}

export function tmpfs(target: string, options = '', mode = 0o1777): MountStep {
  return { kind: 'tmpfs', target, options, flags: [], mode }
}

export const PROC = bind('/proc', '/proc', { trusted: true })
export const DEV = bind('/dev', '/dev', { trusted: true })

export function file(target: string, text: string, replaceLink = false): MountStep {
  return { kind: 'file', target, content: Buffer.from(text), mode: 0o644, replaceLink }
}

interface Inside {
  status: number | null
  stdout: string
  stderr: string
}

interface EnterOptions {
  /** Keep every capability of the container's user namespace. */
  capabilities?: boolean
  uid?: number
  gid?: number
  /** Command that runs the prober, e.g. nsenter. */
  through?: string[]
}

export class Lab {
  readonly folder = mkdtempSync(join(tmpdir(), 'berth-ns-'))
  readonly native = missing() === undefined ? loadNative() : (undefined as unknown as Native)
  readonly enterPath = join(this.folder, 'enter')
  readonly imagePath = join(this.folder, 'image.sqsh')
  private image: LoopImage | undefined
  private readonly open: BuiltNamespace[] = []

  async start(): Promise<void> {
    execFileSync('chmod', ['755', this.folder])
    makeTree(join(this.folder, 'tree'))
    compile('enter.c', this.enterPath)
    compile('climb.c', join(this.folder, 'tree/bin/climb'))
    const packing = ['-comp', 'zstd', '-noappend', '-all-root', '-quiet', '-no-progress']
    execFileSync('mksquashfs', [join(this.folder, 'tree'), this.imagePath, ...packing])
    this.image = await this.native.attachImage(this.imagePath)
  }

  stop(): void {
    for (const built of this.open.splice(0)) this.close(built)
    if (this.image !== undefined) {
      this.native.closeFd(this.image.mountFd)
      this.native.closeFd(this.image.loopFd)
    }
    rmSync(this.folder, { recursive: true, force: true })
  }

  get device(): string {
    if (this.image === undefined) throw new Error('start() first')
    return this.image.device
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  spec(mounts: MountStep[], more: Partial<NamespaceSpec> = {}): NamespaceSpec {
    return {
      image: { device: this.device },
      readonly: false,
      upperSize: '16m',
      ...USER,
      insideUid: USER.uid,
      insideGid: USER.gid,
      idmap: true,
      mounts,
      unshare: [],
      staging: '/tmp',
      ...more,
    }
  }

  async build(mounts: MountStep[], more: Partial<NamespaceSpec> = {}): Promise<BuiltNamespace> {
    const built = await this.native.buildNamespace(this.spec(mounts, more))
    this.open.push(built)
    return built
  }

  close(built: BuiltNamespace): void {
    for (const fd of descriptors(built)) this.native.closeFd(fd)
    const index = this.open.indexOf(built)
    if (index >= 0) this.open.splice(index, 1)
  }

  /** Runs a shell script as the user in the namespaces. */
  enter(built: BuiltNamespace, script: string, options: EnterOptions = {}): Inside {
    const fds = descriptors(built)
    const ids = [String(options.uid ?? USER.uid), String(options.gid ?? USER.gid), USER.gids.join(',')]
    const prober = [this.enterPath, ...(options.capabilities ? ['-c'] : []), String(fds.length), ...ids, '--']
    const [command = '', ...rest] = [...(options.through ?? []), ...prober, '/bin/sh', '-c', script]
    const done = spawnSync(command, rest, {
      stdio: ['ignore', 'pipe', 'pipe', ...fds],
      encoding: 'utf8',
      env: { PATH: '/bin:/usr/bin:/sbin:/usr/sbin' },
    })
    return { status: done.status, stdout: done.stdout, stderr: done.stderr }
  }

  /** Builds, runs, closes: for tests that look once. */
  async run(mounts: MountStep[], script: string, more: Partial<NamespaceSpec> = {}): Promise<Inside> {
    const built = await this.build(mounts, more)
    try {
      return this.enter(built, script)
    } finally {
      this.close(built)
    }
  }
}

function descriptors(built: BuiltNamespace): number[] {
  const all = [built.userNs, built.mountNs, built.netNs, built.ipcNs, built.utsNs, built.pidNs]
  return all.filter((fd): fd is number => fd !== undefined)
}

function compile(source: string, output: string): void {
  const flags = ['-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-O1', '-static']
  execFileSync('cc', [...flags, '-o', output, join(import.meta.dirname, source)])
}

/** The image: a shell, and links as hostile or careless images have them. */
function makeTree(tree: string): void {
  for (const name of ['bin', 'etc', 'usr/lib', 'var', 'root', 'opt', 'locked']) {
    mkdirSync(join(tree, name), { recursive: true })
  }
  execFileSync('cp', [BUSYBOX, join(tree, 'bin/busybox')])
  for (const name of [...APPLETS, ...MORE_APPLETS]) symlinkSync('busybox', join(tree, 'bin', name))
  writeFileSync(join(tree, 'etc/issue'), 'the image\n')
  writeFileSync(join(tree, 'etc/secret'), 'x', { mode: 0o600 })
  symlinkSync('/run/dangling', join(tree, 'var/run'))
  symlinkSync('../../../../../../etc', join(tree, 'climb'))
  symlinkSync('/proc/self/root', join(tree, 'magic'))
  symlinkSync('/somewhere/else', join(tree, 'etc/resolv.conf'))
  symlinkSync('loop', join(tree, 'loop'))
  symlinkSync('/', join(tree, 'top'))
  execFileSync('chmod', ['555', join(tree, 'locked')])
  execFileSync('mkfifo', [join(tree, 'fifo')])
}

export function attachedLoops(path: string): number {
  const list = execFileSync('losetup', ['-a'], { encoding: 'utf8' })
  return list.split('\n').filter((line) => line.includes(path)).length
}

/** A busy machine takes seconds for what takes milliseconds otherwise. */
const WAIT_MS_MAX = 60_000

/** Conditions instead of sleeping; what is waited for happens in kernel threads. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + WAIT_MS_MAX
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited ${WAIT_MS_MAX} ms in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
