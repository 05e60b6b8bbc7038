// SPDX-License-Identifier: Apache-2.0
/** A narrow line in front of a real registry: a test learns when so many bytes of layers have gone through it. */
import { createServer, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

const PIECE = 64 * 1024
const PAUSE_MS = 4

export class SlowFront {
  /** Of blobs, since point() was called. */
  private passed = 0
  /** When the last byte of a blob has passed, by performance.now(). */
  lastAt = 0
  private wanted = Number.POSITIVE_INFINITY
  private reached: () => void = () => undefined
  /** The end of the pause after the last piece of any answer. */
  private free: Promise<unknown> = Promise.resolve()

  private constructor(
    private readonly server: Server,
    behind: string,
    private readonly isShared: boolean,
  ) {
    server.on('request', (incoming, outgoing) => {
      const options = { method: incoming.method, headers: incoming.headers }
      const upstream = request(`http://${behind}${incoming.url ?? '/'}`, options, (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        const slow = incoming.url?.includes('/blobs/') === true
        void this.pass(answer, outgoing, slow)
      })
      upstream.on('error', () => outgoing.destroy())
      incoming.pipe(upstream)
    })
  }

  /** @param isShared all answers have one line, else each has one of its own */
  static async start(behind: string, isShared = false): Promise<SlowFront> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new SlowFront(server, behind, isShared)
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  /** Resolves when `bytes` of blobs have passed from now on. */
  point(bytes: number): Promise<void> {
    this.passed = 0
    this.wanted = bytes
    return new Promise((resolve) => {
      this.reached = resolve
      this.look()
    })
  }

  stop(): void {
    this.server.closeAllConnections()
    this.server.close()
  }

  private look(): void {
    if (this.passed >= this.wanted) this.reached()
  }

  private pause(): Promise<unknown> {
    const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    if (!this.isShared) return pause()
    this.free = this.free.then(pause)
    return this.free
  }

  private async pass(
    answer: AsyncIterable<Buffer> & { destroy: () => void },
    outgoing: ServerResponse,
    slow: boolean,
  ): Promise<void> {
    outgoing.on('close', () => answer.destroy())
    try {
      for await (const bytes of answer) {
        for (let at = 0; at < bytes.length; at += PIECE) {
          const piece = bytes.subarray(at, at + PIECE)
          await new Promise<unknown>((resolve) => outgoing.write(piece, resolve))
          if (!slow) continue
          this.passed += piece.length
          this.lastAt = performance.now()
          this.look()
          await this.pause()
        }
      }
      outgoing.end()
    } catch {
      outgoing.destroy()
    }
  }
}
