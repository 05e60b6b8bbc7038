// SPDX-License-Identifier: Apache-2.0
/** Which handler answers which frame, and who may send it. */
import { BerthError } from '../report/errors.js'
import { call } from './call.js'
import { check } from './check.js'
import { type Connection, closeFds } from './connection.js'
import { ended } from './ended.js'
import { type Frame, type FrameType, ProtocolError, Type } from './frame.js'
import { hello } from './hello.js'
import { told } from './login.js'
import { prefetch } from './prefetch.js'
import { register, release } from './register.js'
import { run } from './run.js'
import { task } from './task.js'
import type { Worker } from './worker.js'

type Handler = (worker: Worker, connection: Connection, frame: Frame) => void | Promise<void>

interface Row {
  handler: Handler
  /** Only uid 0 may send it: it names users and processes that the worker then believes in. */
  rootOnly: boolean
  /** May open a connection; the others need a handler that allowed them. */
  opens: boolean
}

const ROWS: Partial<Record<FrameType, Row>> = {
  [Type.CHECK]: { handler: check, rootOnly: false, opens: true },
  [Type.REGISTER]: { handler: register, rootOnly: true, opens: true },
  [Type.TASK]: { handler: task, rootOnly: true, opens: true },
  [Type.HELLO]: { handler: hello, rootOnly: false, opens: true },
  [Type.RELEASE]: { handler: release, rootOnly: true, opens: false },
  [Type.PREFETCH]: { handler: prefetch, rootOnly: true, opens: true },
  [Type.CALL]: { handler: call, rootOnly: false, opens: true },
  [Type.RUN]: { handler: run, rootOnly: false, opens: true },
  [Type.TOLD]: { handler: told, rootOnly: false, opens: false },
  [Type.ENDED]: { handler: ended, rootOnly: false, opens: false },
}

/** @throws ProtocolError; the caller then closes the connection. */
export function dispatch(worker: Worker, connection: Connection, frame: Frame, first: boolean): void {
  const row = ROWS[frame.type as FrameType]
  if (row === undefined || (first && !row.opens)) {
    closeFds(frame)
    throw new ProtocolError(`frame type ${frame.type} is not for the worker`)
  }
  if (row.rootOnly && connection.peer.uid !== 0) {
    closeFds(frame)
    throw new BerthError('BERTH_EROOT', { what: `message type ${frame.type}`, uid: connection.peer.uid })
  }
  try {
    const work = row.handler(worker, connection, frame)
    if (work !== undefined) work.catch((error: unknown) => refuse(worker, connection, error))
  } finally {
    closeFds(frame)
  }
}

function refuse(worker: Worker, connection: Connection, error: unknown): void {
  const { pid, uid } = connection.peer
  worker.log(`request of pid ${pid} failed: ${error instanceof Error ? error.stack : error}`, { uid })
  connection.fail(error)
  connection.end()
}
