// SPDX-License-Identifier: Apache-2.0
/** Compiles and drives fake_worker.c: frames are written and read by src/worker/frame.ts, the socket is C's. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Frame, FrameReader, type FrameType, PROTOCOL_VERSION } from '../../../src/worker/frame.js'

export const CHECKOUT = resolve(import.meta.dirname, '../../..')
const SLURM = join(CHECKOUT, 'slurm')
/** A loaded two-core machine takes a second for what is usually there at once. */
const WAIT_MS_MAX = 60_000
const POLL_MS = 10

/** A temporary directory that any user may enter, removed by `remove`. */
export function makeDirectory(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'berth-slurm-'))
  execFileSync('chmod', ['755', path])
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

/** @returns the program's path. Warnings are errors here as in the build. */
export function compile(output: string, sources: readonly string[], flags: readonly string[] = []): string {
  const common = ['-std=c11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-O1', '-g']
  execFileSync('cc', [...common, ...flags, '-o', output, ...sources], {
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  return output
}

export function compileFake(directory: string): string {
  const own = join(import.meta.dirname, 'fake_worker.c')
  return compile(join(directory, 'fake-worker'), [
    own,
    ...['wire', 'frame', 'text'].map((name) => join(SLURM, `${name}.c`)),
  ])
}

export async function until<T>(
  what: string,
  look: () => T | undefined | false,
  waitMs = WAIT_MS_MAX,
): Promise<T> {
  const end = Date.now() + waitMs
  for (;;) {
    const seen = look()
    if (seen !== undefined && seen !== false) return seen
    if (Date.now() > end) throw new Error(`waited ${waitMs} ms for ${what}`)
    await new Promise((wake) => setTimeout(wake, POLL_MS))
  }
}

interface Seen {
  type: number
  pid: number
  uid: number
  fds: number
  frame: Frame
}

type Action = { fd: string } | { send: Buffer } | { pauseMs: number } | 'close'
export type Rule = readonly [FrameType, ...Action[]]

/** One running fake worker. */
export class FakeWorker {
  readonly seen: Seen[] = []
  /** Types of the last frames of connections that ended. */
  readonly closed: number[] = []
  private readonly child: ChildProcess
  private rest = ''
  private ready = false
  private files = 0

  constructor(
    program: string,
    private readonly directory: string,
    readonly socket: string,
    rules: readonly Rule[],
    uid?: number,
  ) {
    const words = rules.map(
      ([type, ...actions]) => `${type}:${actions.map((action) => this.word(action)).join(',')}`,
    )
    const stdio = ['ignore', 'pipe', 'inherit'] as const
    this.child = spawn(program, [socket, ...words], { stdio: [...stdio], uid, gid: uid })
    this.child.stdout?.setEncoding('latin1').on('data', (text: string) => this.read(text))
  }

  static async start(
    program: string,
    directory: string,
    socket: string,
    rules: readonly Rule[],
    uid?: number,
  ): Promise<FakeWorker> {
    const fake = new FakeWorker(program, directory, socket, rules, uid)
    await until('the fake worker', () => fake.ready)
    return fake
  }

  of(type: FrameType): Seen[] {
    return this.seen.filter((seen) => seen.type === type)
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const ended = new Promise((resolve) => this.child.once('close', resolve))
    this.child.kill('SIGKILL')
    await ended
  }

  private word(action: Action): string {
    if (action === 'close') return 'close'
    if ('fd' in action) return `fd=${action.fd}`
    if ('pauseMs' in action) return `pause=${action.pauseMs}`
    const file = join(this.directory, `answer-${process.pid}-${Date.now()}-${this.files++}`)
    writeFileSync(file, action.send)
    return `send=${file}`
  }

  private read(text: string): void {
    this.rest += text
    const lines = this.rest.split('\n')
    this.rest = lines.pop() ?? ''
    for (const line of lines) {
      const [word, type, pid, uid, fds, hex] = line.split(' ')
      if (word === 'ready') this.ready = true
      else if (word === 'closed') this.closed.push(Number(type))
      else if (word === 'frame') {
        const frame = decode(Number(type), Buffer.from(hex ?? '', 'hex'))
        this.seen.push({ type: Number(type), pid: Number(pid), uid: Number(uid), fds: Number(fds), frame })
      } else throw new Error(`fake worker: ${line}`)
    }
  }
}

function decode(type: number, body: Buffer): Frame {
  const header = Buffer.alloc(8)
  header.writeUInt32LE(body.length + 4, 0)
  header.writeUInt16LE(type, 4)
  header.writeUInt16LE(PROTOCOL_VERSION, 6)
  const frame = new FrameReader().push(Buffer.concat([header, body]))[0]
  if (frame === undefined) throw new Error('fake worker: half a frame')
  return frame
}
