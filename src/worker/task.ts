// SPDX-License-Identifier: Apache-2.0
/** TASK: root announces a process that will become the launcher, with the namespaces the step must hang below. */
import { native } from '../native.js'
import { BerthError } from '../report/errors.js'
import type { Connection } from './connection.js'
import { readHandle } from './facts.js'
import { type Frame, Tag, Type } from './frame.js'
import { takePlace } from './place.js'
import type { Worker } from './worker.js'

export async function task(worker: Worker, connection: Connection, frame: Frame): Promise<void> {
  const place = takePlace(frame)
  // The kernel's word, not the sender's: a pid inside a job's pid namespace means nothing here.
  const pid = connection.peer.pid
  try {
    const step = await worker.steps.find(readHandle(frame.bytes(Tag.HANDLE)))
    const start = native.processStart(pid)
    if (step === undefined || start === 0) throw new BerthError('BERTH_ESTEP', { pid })
    const localId = frame.number(Tag.LOCAL_ID) ?? 0
    const globalId = frame.number(Tag.GLOBAL_ID) ?? localId
    if (!worker.steps.announce(step, { pid, start, localId, globalId }, place))
      throw new BerthError('BERTH_ETASKS', { step: step.name })
    connection.send(Type.ACK)
    step.prepareOpening()
  } catch (error) {
    place.close()
    connection.fail(error)
  } finally {
    connection.end()
  }
}
