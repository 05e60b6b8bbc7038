// SPDX-License-Identifier: Apache-2.0
/** Starts programs at the very moments when namespaces are begun on other threads; ends when all of it has. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Lab, PROC } from './lab.js'

const ROUNDS = 150

const lab = new Lab()
await lab.start()
try {
  for (let round = 0; round < ROUNDS; round++) {
    const building = lab.build([PROC])
    const child = lab.native.withoutForks(() => spawn('true', { stdio: 'ignore' }))
    await once(child, 'exit')
    lab.close(await building)
  }
} finally {
  lab.stop()
}
