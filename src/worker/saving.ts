// SPDX-License-Identifier: Apache-2.0
/** The launchers of a container that is to be saved: the last one whose command has ended waits for the save. */
import { constants } from 'node:os'
import type { Connection } from './connection.js'

const { SIGTERM, SIGKILL, SIGINT } = constants.signals
/** What cancels a step or job: the user wants its end and no result. */
const CANCELING: Readonly<Record<number, string>> = {
  [SIGTERM]: 'SIGTERM',
  [SIGKILL]: 'SIGKILL',
  [SIGINT]: 'SIGINT',
}
/** Termination signal in a status of waitpid(2). */
const SIGNAL_MASK = 0x7f
const NOT_STARTED = 'a task did not start, or was killed'

export class Saving {
  private readonly running = new Set<Connection>()
  /** Pids that were announced and have not asked for their container yet. */
  private readonly expected = new Set<number>()
  private readonly lost = new Set<number>()
  private readonly waiting: (() => void)[] = []
  private ended = 0
  private answered = false
  /** Why nothing will be saved. */
  private obstacle: string | undefined

  /** @param tasks on this node */
  constructor(private readonly tasks: number) {}

  /** Tasks have ended and none of them was the last one: nobody was told what became of the save. */
  get isForgotten(): boolean {
    return this.ended > 0 && !this.answered
  }

  /** A process that will become a launcher; `lose` tells its end. */
  expect(pid: number): void {
    this.expected.add(pid)
  }

  /** That process has ended. Without a word from it, its command has never started: TaskProlog killed it, say. */
  lose(pid: number): void {
    if (!this.expected.has(pid)) return
    this.lost.add(pid)
    this.count(NOT_STARTED)
    this.arrive(pid)
  }

  /** A launcher that stays; when it goes without a word its command has not started, or both were killed. */
  join(connection: Connection, pid: number): void {
    if (this.lost.has(pid)) return
    this.arrive(pid)
    this.running.add(connection)
    connection.onClosed(() => {
      if (this.running.delete(connection)) this.count(NOT_STARTED)
    })
  }

  /**
   * Undefined: others run. Otherwise all have ended, and '' or what is in the way of a save. Those that are still
   * on their way are waited for, so that this one can tell of it when they never come.
   */
  async end(connection: Connection, status: number): Promise<string | undefined> {
    if (this.expected.size > 0) await new Promise<void>((resolve) => this.waiting.push(resolve))
    const signal = CANCELING[status & SIGNAL_MASK]
    if (this.running.delete(connection))
      this.count(signal === undefined ? undefined : `a task was ended by ${signal}`)
    if (this.ended < this.tasks) return undefined
    this.answered = true
    return this.obstacle ?? ''
  }

  private count(obstacle: string | undefined): void {
    this.ended++
    this.obstacle ??= obstacle
  }

  private arrive(pid: number): void {
    if (this.expected.delete(pid) && this.expected.size === 0)
      for (const resolve of this.waiting.splice(0)) resolve()
  }
}
