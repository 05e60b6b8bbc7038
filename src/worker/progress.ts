// SPDX-License-Identifier: Apache-2.0
/** Import events as bytes for a launcher's stderr: one launcher of each node hears of them, the others wait in silence. */
import { NodeProgress } from '../report/node_progress.js'
import { type ImportEvent, Progress, type ProgressMode, progressMode } from '../report/progress.js'
import type { Connection } from './connection.js'
import { Tag, Type } from './frame.js'
import { PROGRESS_FRAMES_MAX } from './limits.js'
import type { LiveStep } from './live_step.js'

/** Begins to show the step's import; the answer ends it. */
export function showProgress(
  { audience, facts }: LiveStep,
  connection: Connection,
  columns: number,
  siteMode: ProgressMode,
): () => void {
  if (!audience.takeSpeaker(connection)) return () => undefined
  const mode = progressMode(new Map(Object.entries(facts.env)), siteMode)
  const progress =
    audience.laterNode === undefined
      ? new Progress({ columns, mode })
      : new NodeProgress(audience.laterNode, mode)
  const stop = audience.watch(writer(connection, progress))
  connection.onClosed(stop)
  return stop
}

/** For a command that is alone: `berth pull`. */
export function lineProgress(connection: Connection, columns: number): (event: ImportEvent) => void {
  return writer(connection, new Progress({ columns, mode: 'auto' }))
}

function writer(connection: Connection, progress: Pick<Progress, 'take'>): (event: ImportEvent) => void {
  let frames = 0
  return (event) => {
    const text = progress.take(event)
    if (text === '' || frames >= PROGRESS_FRAMES_MAX) return
    frames += 1
    connection.send(Type.PROGRESS, [[Tag.TEXT, text]])
  }
}
