// SPDX-License-Identifier: Apache-2.0
/** The sharer process from the worker's side: orders with a bound on their time. A late one costs the process its life. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { parseData, takeCount } from '../../image/wire.js'
import { spawnOrdinary } from '../../native/spawn.js'
import type { Native, NativeSocket } from '../../native.js'
import { encodeFrame, type Frame, FrameReader, Tag, Type } from '../../worker/frame.js'
import { nodeOf } from '../importer.js'
import type { OrderName, Orders, Sent, SharerSettings } from './wire.js'

const HEAP_MIB_MAX = 64
/** How long the directory may let us wait. */
export interface Patience {
  answer_ms: number
  /** Between two reports of a copy. */
  stall_ms: number
}

/** A metadata server under load takes seconds; one that takes longer is as good as none. */
const PATIENCE: Patience = { answer_ms: 15_000, stall_ms: 60_000 }

export interface Answered<N extends OrderName> {
  answer: Orders[N]['answer']
  /** Owned by the receiver. */
  fd?: number
}

export interface AskOptions {
  /** Stays the caller's. */
  fd?: number
  tell?: (done: number, total: number) => void
  /** It moves a whole image: only silence counts. */
  isLong?: boolean
}

interface Pending {
  resolve(answered: Answered<OrderName>): void
  reject(error: Error): void
  tell: (done: number, total: number) => void
  timer: NodeJS.Timeout
}

export class Sharer {
  private readonly child: ChildProcess
  private readonly socket: NativeSocket
  private readonly frames = new FrameReader()
  private readonly pending = new Map<number, Pending>()
  /** Not yet with their answers. */
  private readonly fds: number[] = []
  private orders = 0
  private gone: string | undefined
  private isKilled = false
  private isOver = false

  constructor(
    private readonly native: Native,
    distDir: string,
    settings: SharerSettings,
    user: { uid: number; gid: number },
    private readonly patience: Patience = PATIENCE,
  ) {
    const [ours, theirs] = native.socketPair()
    const argv = [
      `--max-old-space-size=${HEAP_MIB_MAX}`,
      join(distDir, 'bin/sharer.js'),
      JSON.stringify(settings),
    ]
    this.child = spawnOrdinary(native, nodeOf(distDir), argv, {
      ...user,
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' },
      stdio: ['ignore', 'ignore', 'inherit', theirs],
    })
    native.closeFd(theirs)
    const over = (how: string) => {
      this.isOver = true
      this.end(how)
    }
    this.child.once('error', (error) => over(`cannot be started: ${error.message}`))
    this.child.once('exit', (status, signal) => over(`ended (${signal ?? status})`))
    this.socket = native.adopt(ours, {
      data: (bytes, fds) => {
        try {
          for (const frame of this.frames.push(bytes, fds)) this.take(frame)
        } catch {
          this.end('broke the protocol', true)
        }
      },
      closed: () => this.end('hung up'),
    })
    this.child.unref()
    this.socket.unref()
  }

  get alive(): boolean {
    return this.gone === undefined
  }

  /** It was killed and does not end: it waits for a server, and nothing ends that wait. */
  get isStuck(): boolean {
    return this.isKilled && !this.isOver
  }

  /** @throws Error with the file system's `code` */
  ask<N extends OrderName>(
    name: N,
    order: Orders[N]['order'],
    options: AskOptions = {},
  ): Promise<Answered<N>> {
    const { gone } = this
    if (gone !== undefined) return Promise.reject(new Error(`the sharer ${gone}`))
    const id = ++this.orders
    return new Promise((resolve, reject) => {
      const wait_ms = options.isLong === true ? this.patience.stall_ms : this.patience.answer_ms
      const timer = setTimeout(() => this.end(`did not answer within ${wait_ms / 1000} s`, true), wait_ms)
      const tell = (done: number, total: number) => {
        timer.refresh()
        options.tell?.(done, total)
      }
      this.pending.set(id, { resolve: resolve as Pending['resolve'], reject, tell, timer })
      const data = JSON.stringify({ id, order, hasFile: options.fd !== undefined } satisfies Sent<unknown>)
      const fields = [
        [Tag.NAME, name],
        [Tag.DATA, data],
      ] as const
      this.socket.send(encodeFrame(Type.CALL, fields), options.fd === undefined ? [] : [options.fd])
    })
  }

  /** What it publishes it finishes alone. */
  leave(): void {
    this.end('was let go')
  }

  private take(frame: Frame): void {
    const { id, order: answer, hasFile } = parseData(frame.text(Tag.DATA) ?? '') as unknown as Sent<never>
    this.fds.push(...frame.fds)
    const fd = hasFile ? this.fds.shift() : undefined
    const pending = this.pending.get(id)
    if (pending !== undefined && frame.type === Type.IMPORTING) {
      const { done, total } = answer
      pending.tell(takeCount(done), takeCount(total))
      return
    }
    this.pending.delete(id)
    clearTimeout(pending?.timer)
    if (pending === undefined) {
      if (fd !== undefined) this.native.closeFd(fd)
    } else if (frame.type === Type.RESULT) pending.resolve({ answer, ...(fd === undefined ? {} : { fd }) })
    else
      pending.reject(
        Object.assign(new Error((answer as Error).message), { code: (answer as NodeJS.ErrnoException).code }),
      )
  }

  private end(how: string, kill = false): void {
    if (this.gone !== undefined) return
    this.gone = how
    this.socket.close()
    for (const { reject, timer } of this.pending.values()) {
      clearTimeout(timer)
      reject(new Error(`the sharer ${how}`))
    }
    this.pending.clear()
    this.isKilled = kill
    if (kill) this.child.kill('SIGKILL')
  }
}
