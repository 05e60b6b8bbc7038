// SPDX-License-Identifier: Apache-2.0
/** A worker that cannot work tells everybody who asks why; one that only died would leave that to its log. */
import type { BerthError } from '../report/errors.js'
import { closeFds } from './connection.js'
import { Idle } from './idle.js'
import { Server } from './server.js'
import type { WorkerOptions } from './worker.js'

/** So soon counts what an operator mends; steps that fail at once cost the node no more starts of Node.js than this. */
const LIFE_MS = 10_000

/** Ends after a while, for the next one to try again. Leases stay: what runs is the next one's. */
export function refuseAll(options: WorkerOptions, failure: BerthError, log: (line: string) => void): void {
  const idle = new Idle(0, () => undefined)
  const server = new Server({ options, idle, log }, (from, frame) => {
    closeFds(frame)
    from.fail(failure)
    from.end()
  })
  const stop = () => {
    server.close()
    process.exit(0)
  }
  setTimeout(stop, LIFE_MS)
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  process.on('SIGHUP', () => undefined)
}
