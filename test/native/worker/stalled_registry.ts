// SPDX-License-Identifier: Apache-2.0
/** A registry that keeps everybody waiting until it is told to refuse. */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export class StalledRegistry {
  questions = 0
  private readonly waiting = new Set<ServerResponse>()
  private refusing = false

  private constructor(private readonly server: Server) {
    server.on('request', (_, response: ServerResponse) => {
      this.questions += 1
      this.waiting.add(response)
      if (this.refusing) this.refuse()
    })
  }

  static async start(): Promise<StalledRegistry> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new StalledRegistry(server)
  }

  get image(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}/stalled/image:1`
  }

  stall(): void {
    this.refusing = false
  }

  /** Answers all that wait, and all that come, with 404. */
  refuse(): void {
    this.refusing = true
    for (const response of this.waiting) response.writeHead(404).end()
    this.waiting.clear()
  }

  stop(): void {
    this.refuse()
    this.server.closeAllConnections()
    this.server.close()
  }
}
