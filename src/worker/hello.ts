// SPDX-License-Identifier: Apache-2.0
/** HELLO: a launcher asks for its container. It is known by the kernel's word on pid and uid, or by a ticket. */
import { BerthError } from '../report/errors.js'
import type { Connection } from './connection.js'
import { readHandle } from './facts.js'
import { type Frame, Tag, Type } from './frame.js'
import { KEEP_ALIVE_MS } from './limits.js'
import type { LiveStep } from './live_step.js'
import { environmentOf } from './place.js'
import { showProgress } from './progress.js'
import type { Worker } from './worker.js'

interface Asker {
  step: LiveStep
  localId: number
  globalId: number
}

export async function hello(worker: Worker, connection: Connection, frame: Frame): Promise<void> {
  const asker = identify(worker, connection, frame)
  if (asker === undefined) {
    const { pid, uid } = connection.peer
    connection.fail(new BerthError('BERTH_ETASK', { pid, uid }))
    return connection.end()
  }
  const { step } = asker
  const beat = keepAlive(connection)
  step.logins.offer(connection)
  let stays = false
  const columns = frame.number(Tag.TTY) ?? 0
  const quiet = step.explains
    ? () => undefined
    : showProgress(step, connection, columns, worker.site.get('progress'))
  try {
    if (step.explains) await explain(asker, connection)
    else stays = await join(asker, connection, quiet)
  } catch (error) {
    quiet()
    connection.fail(error, step.audience.tellFailure())
  } finally {
    clearInterval(beat)
    if (!stays) connection.end()
  }
}

/** A launcher takes a long silence for a hung worker; those that are shown nothing hear an empty word. */
export function keepAlive(connection: Connection): NodeJS.Timeout {
  const beat = setInterval(() => connection.send(Type.PROGRESS, [[Tag.TEXT, '']]), KEEP_ALIVE_MS)
  beat.unref()
  connection.onClosed(() => clearInterval(beat))
  return beat
}

/** True when the launcher stays to hear of the save. */
async function join(asker: Asker, connection: Connection, quiet: () => void): Promise<boolean> {
  const opened = await asker.step.open(() => environmentOf(connection.peer.pid))
  quiet()
  asker.step.logins.withdraw(connection)
  if (asker.step.isEnded) throw new BerthError('BERTH_ECANCELED', { what: asker.step.name })
  const warnings = asker.step.takeWarnings(opened)
  if (warnings !== '') connection.send(Type.PROGRESS, [[Tag.TEXT, warnings]])
  const { fields, fds } = asker.step.join(opened, connection.peer.pid)
  connection.send(Type.JOIN, fields, fds)
  if (opened.save === undefined) {
    // exec closes the launcher's end.
    connection.onClosed(() => asker.step.noteStarted(opened))
    return false
  }
  asker.step.noteStarted(opened)
  connection.subject = asker.step
  connection.expects = [Type.ENDED]
  asker.step.save.join(connection, opened.save)
  return true
}

/** One node's first task prints the plan, the others leave without a word. */
async function explain(asker: Asker, connection: Connection): Promise<void> {
  const speaks = asker.localId === 0 && asker.step.facts.node === 0
  const text = speaks ? await asker.step.explain(await environmentOf(connection.peer.pid)) : ''
  connection.send(Type.PRINT, [
    [Tag.TEXT, text],
    [Tag.EXIT, 0],
  ])
}

function identify(worker: Worker, connection: Connection, frame: Frame): Asker | undefined {
  const ticket = frame.bytes(Tag.TICKET)
  const { pid, uid } = connection.peer
  if (ticket !== undefined) {
    const step = worker.steps.get(readHandle(ticket))
    // A ticket alone opens nothing: it is of use to its own user only, and never for a step of Slurm's.
    if (step?.facts.context !== 'run' || step.facts.uid !== uid) return undefined
    return { step, localId: 0, globalId: 0 }
  }
  const found = worker.steps.ofTask(pid)
  if (found === undefined || found.step.facts.uid !== uid) return undefined
  return { step: found.step, localId: found.task.localId, globalId: found.task.globalId }
}
