// SPDX-License-Identifier: Apache-2.0
/** The save of one step's container: the launchers that it waits for, and the work after the last one's command. */
import type { PendingSave } from '../launch/save.js'
import type { Undo } from '../launch/undo.js'
import { native } from '../native.js'
import type { Connection } from './connection.js'
import type { StepFacts } from './facts.js'
import { Saving } from './saving.js'
import type { Story } from './story.js'

export class StepSave {
  private readonly saving: Saving
  private pending: PendingSave | undefined

  /** @param signal ends the work with the step */
  constructor(
    { localTasks }: StepFacts,
    private readonly story: Pick<Story, 'save'>,
    private readonly undo: Undo,
    private readonly signal: AbortSignal,
  ) {
    this.saving = new Saving(Math.max(1, localTasks))
  }

  /** Tasks have ended and none of them was the last one: nobody was told what became of the save. */
  get isForgotten(): boolean {
    return this.saving.isForgotten
  }

  /** A task that dies before it asks for its container must not leave the others' save waiting for it. */
  expect(pid: number): void {
    const { saving } = this
    saving.expect(pid)
    try {
      const watch = native.watchProcess(pid, () => saving.lose(pid))
      watch.unref()
      this.undo.add(`watch of task ${pid}`, () => watch.close())
    } catch {
      saving.lose(pid)
    }
  }

  /** A launcher whose command runs; the container is saved after the last one. */
  join(connection: Connection, pending: PendingSave): void {
    this.pending = pending
    this.saving.join(connection, connection.peer.pid)
  }

  /** Resolves when its launcher may leave, with a warning or ''. @throws BerthError BERTH_ESAVE */
  async end(connection: Connection, status: number, umask: number): Promise<string> {
    const obstacle = await this.saving.end(connection, status)
    const { pending } = this
    if (obstacle === undefined || pending === undefined) return ''
    if (obstacle !== '') return `${pending.target.path} was not saved: ${obstacle}`
    // The last launcher's end is the save's: a step that is killed leaves nothing behind.
    const gone = new AbortController()
    connection.onClosed(() => gone.abort())
    const signal = AbortSignal.any([this.signal, gone.signal])
    const work = this.story.save(pending, { umask, signal })
    // Its clean-up comes before everything that it uses is given back.
    this.undo.add('save', () => work.catch(() => undefined))
    await work
    return ''
  }
}
