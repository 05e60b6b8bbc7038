// SPDX-License-Identifier: Apache-2.0
/** Runs programs on images: verify, compare with the kernel's mount. Everything is in one temporary directory. */
import * as assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from '../squash/workbench.js'

interface Ran {
  status: number | null
  stdout: string
  stderr: string
}

export function run(command: string, args: readonly string[]): Ran {
  const done = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 << 20 })
  return { status: done.status, stdout: done.stdout ?? '', stderr: done.stderr ?? String(done.error) }
}

/** Runs and throws what it wrote when it fails. */
export function must(command: string, ...args: string[]): string {
  const done = run(command, args)
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${done.stdout}${done.stderr}`)
  return done.stdout
}

export function hasProgram(name: string): boolean {
  return run('sh', ['-c', `command -v ${name}`]).status === 0
}

/** What is missing for tests that mount. */
export const mountMissing = process.getuid?.() === 0 ? undefined : 'root, to mount squashfs'

const LOOP_BLOCK = 4096

/** The program that a Lab runs. */
export function buildInspect(): string {
  return build('native/reader/inspect.cc', { more: ['native/reader/compare.cc'] })
}

export class Lab {
  readonly directory = mkdtempSync(join(tmpdir(), 'berth-reader-'))
  private readonly mountPoint = join(this.directory, 'mnt')
  private images = 0

  constructor(private readonly inspect: string) {
    mkdirSync(this.mountPoint)
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  /**
   * A new name for an image. Earlier ones stay: mount(8) takes a loop device that is still attached to the same inode,
   * and its cache with it, when something else on the machine keeps it open for a moment.
   */
  fresh(): string {
    return this.path(`image-${this.images++}`)
  }

  verify(image: string, threads = 1): Ran {
    return run(this.inspect, ['verify', image, String(threads)])
  }

  list(image: string, path: string): Ran {
    return run(this.inspect, ['list', image, path])
  }

  cat(image: string, path: string): Ran {
    return run(this.inspect, ['cat', image, path])
  }

  /** Every entry against the kernel's view; pads the image first, as its copy in the store would be. */
  compare(image: string): Ran {
    const { size } = statSync(image)
    truncateSync(image, Math.ceil(size / LOOP_BLOCK) * LOOP_BLOCK)
    must('mount', '-t', 'squashfs', '-o', 'loop,ro,nosuid,nodev', image, this.mountPoint)
    try {
      return run(this.inspect, ['compare', image, this.mountPoint])
    } finally {
      must('umount', this.mountPoint)
    }
  }

  /** Verified with one thread and with two, and equal to the kernel's mount. */
  holds(image: string): void {
    const one = this.verify(image)
    assert.equal(one.status, 0, one.stderr)
    assert.equal(this.verify(image, 2).stdout, one.stdout)
    const compared = this.compare(image)
    assert.equal(compared.status, 0, compared.stdout + compared.stderr)
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}
