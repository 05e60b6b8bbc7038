// SPDX-License-Identifier: Apache-2.0
/** RUN: a step without Slurm. The command's connection is the lease, a ticket ties its launcher to it. */
import { randomBytes } from 'node:crypto'
import { BerthError } from '../report/errors.js'
import type { Connection } from './connection.js'
import { factsOfPeer, type StepFacts } from './facts.js'
import { type Frame, ProtocolError, Tag, Type } from './frame.js'
import { CONTAINER_ID, RUNS_PER_USER_MAX } from './limits.js'
import type { Worker } from './worker.js'

const TICKET_BYTES = 16

export function run(worker: Worker, connection: Connection, frame: Frame): void {
  const { uid } = connection.peer
  if (!worker.steps.mayRun(uid)) throw new BerthError('BERTH_ERUNS', { uid, count: RUNS_PER_USER_MAX })
  const ticket = randomBytes(TICKET_BYTES)
  const facts: StepFacts = {
    ...factsOfPeer(connection.peer, frame, 'run'),
    handle: ticket.toString('hex'),
    process: connection.peer.pid,
  }
  const id = frame.text(Tag.NAME)
  if (id !== undefined) facts.id = takeId(worker, uid, id)
  if (frame.texts(Tag.ARG).length === 0) facts.imageCommand = true
  if (frame.text(Tag.ENTRYPOINT) !== undefined) facts.entrypointFirst = true
  // Grammar and policy are told here, before a launcher exists; the rest by the launcher.
  if (worker.story.parse(facts) === undefined) throw new ProtocolError('RUN without an image')
  if (worker.steps.register(facts, connection) === undefined) throw new ProtocolError('the process is gone')
  connection.send(Type.ACK, [[Tag.TICKET, ticket]])
}

/** @throws BerthError BERTH_EBUNDLEID: one of that user's is called so */
function takeId(worker: Worker, uid: number, id: string): string {
  if (!CONTAINER_ID.test(id)) throw new ProtocolError('malformed container id')
  const taken = worker.steps.list().some(({ facts }) => facts.uid === uid && facts.id === id)
  if (taken) throw new BerthError('BERTH_EBUNDLEID', { id })
  return id
}
