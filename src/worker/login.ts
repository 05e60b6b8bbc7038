// SPDX-License-Identifier: Apache-2.0
/** LOGIN and TOLD: a waiting process of the user's runs the user's credential programs and says what they print. */
import { join } from 'node:path'
import { DIST } from '../site/dist.js'
import type { AskLogin, LoginQuestion } from '../step.js'
import type { Connection } from './connection.js'
import { type Fields, type Frame, Tag, Type } from './frame.js'
import { LOGIN_BYTES_MAX, LOGIN_WAIT_MS_MAX } from './limits.js'
import type { Worker } from './worker.js'

const PROGRAM = join(DIST, 'bin/login.js')

const asked = new WeakMap<Connection, (text: string | undefined) => void>()

/** Asks who is at the other end of the connection. */
export function loginOver(connection: Connection): AskLogin {
  const logins = new Logins()
  logins.offer(connection)
  // Whoever asks after it has gone is told so, and does not wait for another.
  connection.onClosed(() => logins.close())
  return (question) => logins.ask(question)
}

/** TOLD. What is in it is for the importer. */
export function told(_: Worker, connection: Connection, frame: Frame): void {
  const text = frame.text(Tag.DATA)
  asked.get(connection)?.(text !== undefined && text.length <= LOGIN_BYTES_MAX ? text : undefined)
}

/** Of one step: each question once, one at a time, to the first process that is there to answer. */
export class Logins {
  private readonly connections: Connection[] = []
  private readonly answers = new Map<string, Promise<string | undefined>>()
  private readonly waiting = new Set<(connection: Connection | undefined) => void>()
  private turn: Promise<unknown> = Promise.resolve()
  private closed = false

  /** A process that waits for its container. */
  offer(connection: Connection): void {
    this.connections.push(connection)
    for (const wake of this.waiting) wake(connection)
    this.waiting.clear()
  }

  /** It does something else from now on. */
  withdraw(connection: Connection): void {
    const at = this.connections.indexOf(connection)
    if (at >= 0) this.connections.splice(at, 1)
  }

  /** Waits for a process. Only answers that came are kept. */
  ask(question: LoginQuestion): Promise<string | undefined> {
    const key = JSON.stringify(question)
    const known = this.answers.get(key)
    if (known !== undefined) return known
    const answer = this.turn.then(async () => {
      const connection = await this.somebody()
      const text = connection === undefined ? undefined : await askOver(connection, question)
      if (text === undefined) this.answers.delete(key)
      return text
    })
    this.turn = answer
    this.answers.set(key, answer)
    return answer
  }

  /** Nobody will come any more, and secrets are not kept. */
  close(): void {
    this.closed = true
    this.answers.clear()
    for (const wake of this.waiting) wake(undefined)
    this.waiting.clear()
  }

  private somebody(): Promise<Connection | undefined> {
    const open = this.connections.find(({ isOpen }) => isOpen)
    if (open !== undefined || this.closed) return Promise.resolve(open)
    return new Promise((resolve) => this.waiting.add(resolve))
  }
}

function askOver(
  connection: Connection,
  { host, repository, user }: LoginQuestion,
): Promise<string | undefined> {
  const words = [host, repository, ...(user === undefined ? [] : [user])]
  const fields: Fields = [
    [Tag.ARGV, process.execPath],
    [Tag.ARGV, PROGRAM],
    ...words.map((word) => [Tag.ARG, word] as const),
  ]
  return new Promise((resolve) => {
    const done = (text: string | undefined) => {
      clearTimeout(timer)
      asked.delete(connection)
      resolve(text)
    }
    const timer = setTimeout(() => done(undefined), LOGIN_WAIT_MS_MAX)
    timer.unref()
    asked.set(connection, done)
    connection.onClosed(() => done(undefined))
    connection.expects = [Type.TOLD]
    connection.send(Type.LOGIN, fields)
  })
}
