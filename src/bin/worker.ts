#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The worker of a node: started by berth-keeper or systemd with the listening socket, or by hand. */
import { startWorker } from '../worker/start.js'

/** What no handler caught leaves state that nobody vouches for: say it, end, and let the keeper start a fresh worker. */
function crash(error: unknown): void {
  process.stderr.write(`berth worker ended by: ${error instanceof Error ? error.stack : error}\n`)
  process.exit(1)
}

process.on('uncaughtException', crash)
process.on('unhandledRejection', crash)
await startWorker(process.argv.slice(2)).catch(crash)
