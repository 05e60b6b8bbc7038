// SPDX-License-Identifier: Apache-2.0
/** The worker's socket: accepts, bounds, dispatches; ends when idle or told to. */
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type NativeListener, type NativeSocket, native, type SocketHandler } from '../native.js'
import { BerthError, codeOf, messageOf } from '../report/errors.js'
import { Connection, failFrame } from './connection.js'
import type { Frame } from './frame.js'
import { CONNECTIONS_OF_ROOT_MAX, CONNECTIONS_PER_USER_MAX } from './limits.js'
import type { Worker } from './worker.js'

/** First descriptor of socket activation (sd_listen_fds(3)); the keeper follows the same convention. */
const ACTIVATION_FD = 3
const SOCKET_MODE = 0o666

/** May throw, which ends the connection; descriptors of the frame are the receiver's. `opens`: it is the first one. */
type Receiver = (from: Connection, frame: Frame, opens: boolean) => void

export class Server {
  private readonly perUser = new Map<number, number>()
  private readonly connections = new Set<Connection>()
  private readonly listener: NativeListener
  private ownSocket: string | undefined

  constructor(
    private readonly worker: Pick<Worker, 'options' | 'idle' | 'log'>,
    private readonly receive: Receiver,
  ) {
    const accepted = (socket: NativeSocket) => this.accept(socket)
    const { runtimeDir } = worker.options
    if (wasActivated()) {
      this.listener = native.listenFd(ACTIVATION_FD, accepted)
    } else {
      mkdirSync(runtimeDir, { recursive: true, mode: 0o755 })
      this.ownSocket = socketPath(runtimeDir)
      rmSync(this.ownSocket, { force: true })
      this.listener = native.listen(this.ownSocket, SOCKET_MODE, accepted)
      chmodSync(this.ownSocket, SOCKET_MODE)
    }
    this.writePid(pidPath(runtimeDir))
  }

  /** Stops listening and hangs up on everyone; leases stay for the next worker. */
  close(): void {
    this.listener.close()
    for (const connection of this.connections) connection.close()
    const { runtimeDir } = this.worker.options
    this.removePid(pidPath(runtimeDir))
    if (this.ownSocket !== undefined) rmSync(this.ownSocket, { force: true })
  }

  /** For people and their scripts; a full disk costs them, and no step. */
  private writePid(path: string): void {
    try {
      writeFileSync(path, `${process.pid}\n`)
    } catch (error) {
      this.worker.log(`cannot write ${path}: ${messageOf(error)}`)
    }
  }

  /** Not that of another worker, which began when somebody had removed the directory under this one. */
  private removePid(path: string): void {
    try {
      if (Number(readFileSync(path, 'utf8')) === process.pid) rmSync(path)
    } catch {
      // It is gone.
    }
  }

  private accept(socket: NativeSocket): SocketHandler {
    const { uid } = socket.peer
    const open = (this.perUser.get(uid) ?? 0) + 1
    if (open > (uid === 0 ? CONNECTIONS_OF_ROOT_MAX : CONNECTIONS_PER_USER_MAX)) {
      this.worker.log(`${open - 1} connections are open, another one is refused`, { uid })
      return refuse(socket, new BerthError('BERTH_ECONNECTIONS', { uid, count: open - 1 }))
    }
    this.perUser.set(uid, open)
    const idle = this.worker.idle.busy()
    let first = true
    const connection = new Connection(socket, {
      frame: (from, frame) => {
        const opens = first
        first = false
        this.receive(from, frame, opens)
      },
      closed: (from) => {
        this.connections.delete(from)
        const left = (this.perUser.get(uid) ?? 1) - 1
        if (left === 0) this.perUser.delete(uid)
        else this.perUser.set(uid, left)
        idle()
      },
      log: (line, fields) => this.worker.log(line, fields),
    })
    this.connections.add(connection)
    return connection.handler()
  }
}

/** Whether another process listens there: its socket, and the steps that it knows, are not for a second one to take. */
export function isTaken(runtimeDir: string): boolean {
  if (wasActivated()) return false
  try {
    native
      .connect(socketPath(runtimeDir), { data: (_, fds) => fds.forEach(native.closeFd), closed: () => {} })
      .end()
    return true
  } catch (error) {
    return !['ENOENT', 'ENOTDIR', 'ECONNREFUSED'].includes(codeOf(error))
  }
}

/** Whoever writes to a socket that is closed reads all the same what came before. */
function refuse(socket: NativeSocket, failure: BerthError): SocketHandler {
  socket.send(failFrame(failure))
  setImmediate(() => socket.end())
  return { data: (_, fds) => fds.forEach(native.closeFd), closed: () => undefined }
}

function socketPath(runtimeDir: string): string {
  return join(runtimeDir, 'worker.sock')
}

function pidPath(runtimeDir: string): string {
  return join(runtimeDir, 'worker.pid')
}

function wasActivated(): boolean {
  const { LISTEN_FDS, LISTEN_PID } = process.env
  return LISTEN_FDS === '1' && (LISTEN_PID === undefined || Number(LISTEN_PID) === process.pid)
}
