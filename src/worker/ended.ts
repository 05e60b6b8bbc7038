// SPDX-License-Identifier: Apache-2.0
/** ENDED: a launcher that stayed tells that its command has ended, and leaves when the container is saved. */
import { readFileSync } from 'node:fs'
import type { Connection } from './connection.js'
import { type Frame, ProtocolError, Tag, Type } from './frame.js'
import { keepAlive } from './hello.js'
import type { Worker } from './worker.js'

/** What systems start users with. */
const UMASK_DEFAULT = 0o022

export async function ended(_worker: Worker, connection: Connection, frame: Frame): Promise<void> {
  const step = connection.subject
  if (step === undefined) throw new ProtocolError('ENDED without JOIN')
  const beat = keepAlive(connection)
  try {
    const status = frame.number(Tag.EXIT) ?? 0
    const warning = await step.save.end(connection, status, umaskOf(connection.peer.pid))
    if (warning !== '') connection.send(Type.PROGRESS, [[Tag.TEXT, `berth: warning: ${warning}\n`]])
    connection.send(Type.ACK)
  } catch (error) {
    connection.fail(error, step.audience.tellFailure())
  } finally {
    clearInterval(beat)
    connection.end()
  }
}

/** Linux 4.7 tells it in /proc. */
function umaskOf(pid: number): number {
  try {
    const found = /^Umask:\s+([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return found?.[1] === undefined ? UMASK_DEFAULT : Number.parseInt(found[1], 8)
  } catch {
    return UMASK_DEFAULT
  }
}
