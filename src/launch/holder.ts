// SPDX-License-Identifier: Apache-2.0
/** The program that an engine runs in the container says that it is there: by an abstract socket, known by its peer. */
import { randomBytes } from 'node:crypto'
import { closeSync, constants, openSync } from 'node:fs'
import { type NativeSocket, native } from '../native.js'
import { environmentOf } from '../worker/place.js'

export interface Holder {
  /** Descriptors of its mount namespace and, O_PATH, of its root directory; owned by the caller. */
  mountNs: number
  root: number
  environment: ReadonlyMap<string, string>
  /** It ends. */
  close(): void
}

const NAME_BYTES = 16
/** Not in node's constants (open(2)). */
const O_PATH = 0o10000000

/** Where one holder is awaited; every other caller is sent away. */
export class HolderDoor {
  readonly name = `berth-hold-${randomBytes(NAME_BYTES).toString('hex')}`
  private readonly listener
  private arrive: ((socket: NativeSocket) => void) | undefined
  /** The first process of the user that calls. */
  readonly arrived = new Promise<NativeSocket>((resolve) => {
    this.arrive = resolve
  })

  constructor(uid: number) {
    this.listener = native.listen(`@${this.name}`, 0, (socket) => {
      if (socket.peer.uid !== uid || this.arrive === undefined) socket.close()
      else this.arrive(socket)
      if (socket.peer.uid === uid) this.arrive = undefined
      return { data: () => undefined, closed: () => undefined }
    })
  }

  close(): void {
    this.listener.close()
  }
}

/**
 * What the holder lives in; undefined when it is gone. The process is its user's: nothing is looked up in its file
 * systems here, where a FUSE server of the user's could hold the worker up.
 */
export async function openHolder(socket: NativeSocket): Promise<Holder | undefined> {
  const proc = `/proc/${socket.peer.pid}`
  const open: number[] = []
  try {
    open.push(openSync(`${proc}/ns/mnt`, 'r'))
    open.push(openSync(`${proc}/root`, O_PATH | constants.O_DIRECTORY))
    const environment = (await environmentOf(socket.peer.pid)) ?? new Map<string, string>()
    const [mountNs = -1, root = -1] = open
    return { mountNs, root, environment, close: () => socket.close() }
  } catch {
    for (const fd of open) closeSync(fd)
    return undefined
  }
}
