// SPDX-License-Identifier: Apache-2.0
/** One peer of the worker: frames in, frames out, and what is owned by the connection until it ends. */
import { type NativeSocket, native, type Peer, type SocketHandler } from '../native.js'
import { BerthError, messageOf } from '../report/errors.js'
import type { LogFields } from '../report/log.js'
import {
  encodeFrame,
  type Fields,
  type Frame,
  FrameReader,
  type FrameType,
  ProtocolError,
  Tag,
  Type,
} from './frame.js'
import type { LiveStep } from './live_step.js'
import { Unfinished, type UnfinishedFrame } from './unfinished.js'

/** Longer texts quote what a user sent; with a whole frame of it, the answer would fit into none. */
const TEXT_CHARACTERS_MAX = 8192

/** Of all connections together. */
const unfinished = new Unfinished()

/** How much of a failure one peer hears; of a node that is not the step's first: one line with its name, and no hint. */
export type Telling = 'whole' | 'silent' | { node: string }

interface ConnectionEvents {
  /** Throws ProtocolError to end the connection; descriptors of the frame belong to the receiver. */
  frame(connection: Connection, frame: Frame): void
  closed(connection: Connection): void
  log(line: string, fields?: LogFields): void
}

export class Connection {
  /** The step whose lease this connection is. */
  subject: LiveStep | undefined
  /** Types that may come next; handlers narrow it, so the order of messages is part of the protocol. */
  expects: readonly FrameType[] | 'first' = 'first'
  private readonly reader = new FrameReader()
  private readonly unfinished: UnfinishedFrame
  private readonly closers: (() => void)[] = []
  private open = true

  constructor(
    private readonly socket: NativeSocket,
    private readonly events: ConnectionEvents,
  ) {
    this.unfinished = unfinished.of(socket.peer.uid, () => this.cut('its frame did not come to an end'))
  }

  get peer(): Peer {
    return this.socket.peer
  }

  get isOpen(): boolean {
    return this.open
  }

  /** Handler for native.listen. */
  handler(): SocketHandler {
    return {
      data: (bytes, fds) => this.receive(bytes, fds),
      closed: () => this.finish(),
    }
  }

  /** Runs once when the peer is gone, also when it is gone already. */
  onClosed(closer: () => void): void {
    if (this.open) this.closers.push(closer)
    else closer()
  }

  send(type: FrameType, fields: Fields = [], fds: readonly number[] = []): void {
    if (this.open) this.socket.send(encodeFrame(type, fields), fds)
  }

  /** Tells the peer why; `silent` keeps the exit code and drops the words (someone else has said them). */
  fail(error: unknown, telling: Telling = 'whole'): void {
    if (this.open) this.socket.send(failFrame(asBerthError(error), telling))
  }

  /** Sends what is queued, then closes. */
  end(): void {
    if (this.open) this.socket.end()
  }

  close(): void {
    if (this.open) this.socket.close()
  }

  private receive(bytes: Buffer, fds: number[]): void {
    try {
      const frames = this.reader.push(bytes, fds)
      const isWithin = this.unfinished.keep(this.reader.held, frames.length > 0)
      for (const frame of frames) this.deliver(frame)
      if (!isWithin) this.cut('its user sends too many frames in part')
    } catch (error) {
      for (const fd of this.reader.takeFds()) native.closeFd(fd)
      this.noteClosed(messageOf(error))
      if (!(error instanceof ProtocolError)) this.fail(error)
      this.end()
    }
  }

  private deliver(frame: Frame): void {
    const allowed = this.expects
    if (allowed !== 'first' && !allowed.some((type) => type === frame.type)) {
      closeFds(frame)
      throw new ProtocolError(`frame type ${frame.type} out of order`)
    }
    this.expects = []
    this.events.frame(this, frame)
  }

  private cut(problem: string): void {
    if (!this.open) return
    this.noteClosed(problem)
    this.close()
  }

  private noteClosed(problem: string): void {
    const { pid, uid } = this.peer
    this.events.log(`connection of pid ${pid} closed: ${problem}`, { uid })
  }

  private finish(): void {
    if (!this.open) return
    this.open = false
    this.unfinished.keep(0, true)
    for (const fd of this.reader.takeFds()) native.closeFd(fd)
    for (const closer of this.closers.splice(0)) closer()
    this.events.closed(this)
  }
}

export function failFrame(error: BerthError, telling: Telling = 'whole'): Buffer {
  const words = wordsOf(error, telling)
  return encodeFrame(Type.FAIL, [[Tag.CODE, error.code], ...words, [Tag.EXIT, error.exit]])
}

function wordsOf({ message, hint }: BerthError, telling: Telling): Fields {
  if (telling === 'silent') return [[Tag.TEXT, '']]
  const text = message.slice(0, TEXT_CHARACTERS_MAX)
  if (telling !== 'whole') return [[Tag.TEXT, `${text} (on ${telling.node})`]]
  return [
    [Tag.TEXT, text],
    [Tag.HINT, hint.slice(0, TEXT_CHARACTERS_MAX)],
  ]
}

export function closeFds(frame: Frame): void {
  for (const fd of frame.fds.splice(0)) native.closeFd(fd)
}

/** What a user reads about anything thrown: known errors as they are, the rest as an internal error. */
export function asBerthError(error: unknown): BerthError {
  if (error instanceof BerthError) return error
  const problem = messageOf(error)
  return new BerthError('BERTH_EINTERNAL', { problem }, { cause: error })
}
