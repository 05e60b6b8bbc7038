// SPDX-License-Identifier: Apache-2.0
/** A conversation with the worker: frames over its socket; root may start a worker where none runs. */

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import type { Native, NativeSocket } from '../native.js'
import { BerthError, codeOf, ERRORS, type ErrorCode } from '../report/errors.js'
import { DIST } from '../site/dist.js'
import {
  encodeFrame,
  type Fields,
  type Frame,
  FrameReader,
  type FrameType,
  Tag,
  Type,
} from '../worker/frame.js'
import type { Places } from './command.js'
import { socketOf } from './places.js'

/** A worker that the keeper starts answers the first frame after Node's own start, well under this. */
const KEEPER_WAIT_MS_MAX = 5000
const KEEPER_RETRY_MS = 20

export class WorkerClient {
  private readonly reader = new FrameReader()
  private readonly received: Frame[] = []
  private readonly socket: NativeSocket
  private wake: (() => void) | undefined
  private ended = false
  private broken: unknown

  /** @throws BerthError BERTH_ESTRANGER; NativeError where nobody listens */
  constructor(native: Pick<Native, 'connect'>, path: string) {
    this.socket = native.connect(path, {
      data: (bytes) => this.take(bytes),
      closed: () => {
        this.ended = true
        this.wake?.()
      },
    })
    // What a worker answers is carried out, and where a directory is anybody's, so is the socket in it.
    const { uid } = this.socket.peer
    if (uid === 0 || uid === process.geteuid?.() || hasNoNumber(uid)) return
    this.socket.close()
    throw new BerthError('BERTH_ESTRANGER', { socket: path, uid })
  }

  private take(bytes: Buffer): void {
    try {
      this.received.push(...this.reader.push(bytes))
    } catch (error) {
      this.broken = error
      this.socket.close()
    }
    this.wake?.()
  }

  send(type: FrameType, fields: Fields = []): void {
    this.socket.send(encodeFrame(type, fields))
  }

  /** The next frame; undefined when the worker hung up. @throws BerthError of a worker of another version */
  async next(): Promise<Frame | undefined> {
    while (this.received.length === 0 && !this.ended) {
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
    const frame = this.received.shift()
    if (frame === undefined && this.broken !== undefined) throw this.broken
    return frame
  }

  /**
   * Copies progress to stderr and returns the first frame that is something else.
   * @throws BerthError what the worker answered, or that it hung up
   */
  async answer(): Promise<Frame> {
    for (;;) {
      const frame = await this.next()
      if (frame === undefined) throw new BerthError('BERTH_EINTERNAL', { problem: 'the worker hung up' })
      if (frame.type === Type.PROGRESS) process.stderr.write(frame.bytes(Tag.TEXT) ?? '')
      else if (frame.type === Type.LOGIN)
        this.send(Type.TOLD, [[Tag.DATA, await ownLogin(frame.texts(Tag.ARG))]])
      else if (frame.type === Type.FAIL) throw new RemoteError(frame)
      else return frame
    }
  }

  close(): void {
    this.socket.close()
  }
}

/** This process is the user's: it asks the user's credential programs itself. */
async function ownLogin([host = '', repository = '', user]: string[]): Promise<string> {
  const { answerLogin } = await import('../image/login.js')
  return answerLogin({ host, repository, user })
}

/** A failure as the worker told it, with its own words. */
class RemoteError extends BerthError {
  override readonly hint: string
  override readonly exit: number

  constructor(frame: Frame) {
    const code = frame.text(Tag.CODE) ?? ''
    super((Object.hasOwn(ERRORS, code) ? code : 'BERTH_EINTERNAL') as ErrorCode, {})
    this.message = frame.text(Tag.TEXT) ?? ''
    this.hint = frame.text(Tag.HINT) ?? ''
    this.exit = frame.number(Tag.EXIT) ?? 125
  }
}

/** Root among them, as a program in a container sees it: there the overflow user is nobody else (user_namespaces(7)). */
function hasNoNumber(uid: number): boolean {
  if (Number(readFileSync('/proc/sys/kernel/overflowuid', 'utf8')) !== uid) return false
  const rows = readFileSync('/proc/self/uid_map', 'utf8').trim().split('\n')
  const ranges = rows.map((row) => row.trim().split(/\s+/).map(Number))
  return !ranges.some(([first = 0, , count = 0]) => uid >= first && uid < first + count)
}

/**
 * @param start root starts a worker where none runs
 * @throws BerthError BERTH_ENOWORKER, BERTH_ESTRANGER
 */
export async function openWorker(places: Places, start = true): Promise<WorkerClient> {
  try {
    return await dial(places)
  } catch (error) {
    if (!start || process.getuid?.() !== 0 || error instanceof BerthError) throw noWorker(places, error)
  }
  const { keeperArguments } = await import('./plugin_line.js')
  const refusal = await startKeeper(await keeperArguments(places))
  const deadline = Date.now() + KEEPER_WAIT_MS_MAX
  for (;;) {
    try {
      return await dial(places)
    } catch (error) {
      if (refusal !== '') throw noWorker(places, refusal)
      if (Date.now() > deadline || error instanceof BerthError) throw noWorker(places, error)
      // The keeper binds the socket before it starts the worker, so this ends after one or two rounds.
      await new Promise((resolve) => setTimeout(resolve, KEEPER_RETRY_MS))
    }
  }
}

/** One request with a JSON answer. */
export async function callWorker(
  places: Places,
  name: string,
  words: readonly string[],
  more: Fields = [],
  start = true,
): Promise<unknown> {
  const client = await openWorker(places, start)
  try {
    client.send(Type.CALL, [[Tag.NAME, name], ...words.map((word) => [Tag.ARG, word] as const), ...more])
    const result = await client.answer()
    return JSON.parse(result.text(Tag.DATA) ?? 'null')
  } finally {
    client.close()
  }
}

/** The addon tells who listens. Where nobody does, as on many a login node, it need not be loaded. */
async function dial(places: Places): Promise<WorkerClient> {
  await access(socketOf(places))
  const { native } = await import('../native.js')
  return new WorkerClient(native, socketOf(places))
}

/** Why there will be no keeper, by its own words; empty when it listens. */
function startKeeper(words: readonly string[]): Promise<string> {
  const child = spawn(join(DIST, 'berth-keeper'), words, {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  return new Promise((resolve) => {
    child.on('error', (error) => resolve(`cannot start a worker: ${error.message}`))
    child.on('close', () => resolve(said.trim()))
  })
}

const UNREACHABLE: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'you may not reach it: `berth doctor`, run by root, says why',
  MODULE_NOT_FOUND: 'the native addon of `berth` is not there, so it cannot tell who listens',
  ERR_DLOPEN_FAILED: 'the native addon of `berth` cannot be loaded, so it cannot tell who listens',
}

function noWorker(places: Places, error: unknown): BerthError {
  if (error instanceof BerthError) return error
  const code = codeOf(error)
  const problem = UNREACHABLE[code] ?? code
  return new BerthError('BERTH_ENOWORKER', { socket: socketOf(places), problem }, { cause: error })
}

/** Name and values of the environment as one ENV field. */
export function environmentField(env: NodeJS.ProcessEnv): string {
  return Object.entries(env)
    .map(([name, value]) => `${name}=${value ?? ''}\0`)
    .join('')
}
