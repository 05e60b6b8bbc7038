// SPDX-License-Identifier: Apache-2.0
/** REGISTER and RELEASE: slurmstepd's connection is the step's lease. No answer to REGISTER is awaited. */
import type { Connection } from './connection.js'
import { readRegister } from './facts.js'
import { type Frame, ProtocolError, Type } from './frame.js'
import type { Worker } from './worker.js'

export function register(worker: Worker, connection: Connection, frame: Frame): void {
  const step = worker.steps.register(readRegister(frame, worker.site.profiles.variables), connection)
  if (step === undefined) throw new ProtocolError('step is registered already or its process is gone')
  worker.log(`${step.name}: registered by pid ${connection.peer.pid}`, { uid: step.facts.uid })
  connection.expects = [Type.RELEASE]
  connection.subject = step
}

/** All tasks have ended: everything is given back before slurmstepd hears of it. */
export async function release(worker: Worker, connection: Connection): Promise<void> {
  const step = connection.subject
  if (step === undefined) throw new ProtocolError('RELEASE without REGISTER')
  await worker.steps.release(step)
  connection.send(Type.ACK)
  connection.end()
}
