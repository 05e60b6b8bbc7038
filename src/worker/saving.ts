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

export class Saving {
  private readonly running = new Set<Connection>()
  private ended = 0
  /** Why nothing will be saved. */
  private obstacle: string | undefined

  /** @param tasks on this node */
  constructor(private readonly tasks: number) {}

  /** A launcher that stays; when it goes without a word its command has not started, or both were killed. */
  join(connection: Connection): void {
    this.running.add(connection)
    connection.onClosed(() => {
      if (!this.running.delete(connection)) return
      this.ended++
      this.obstacle ??= 'a task did not start, or was killed'
    })
  }

  /** Undefined: others run. Otherwise all have ended, and '' or what is in the way of a save. */
  end(connection: Connection, status: number): string | undefined {
    this.running.delete(connection)
    this.ended++
    const signal = CANCELING[status & SIGNAL_MASK]
    if (signal !== undefined) this.obstacle ??= `a task was ended by ${signal}`
    return this.ended < this.tasks ? undefined : (this.obstacle ?? '')
  }
}
