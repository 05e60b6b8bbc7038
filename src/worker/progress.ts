// SPDX-License-Identifier: Apache-2.0
/** Import events as bytes for a launcher's stderr: one launcher per step and node speaks, the others wait in silence. */
import { hostname } from 'node:os'
import { type ImportEvent, Progress, type ProgressMode, progressMode } from '../report/progress.js'
import type { Connection } from './connection.js'
import { Tag, Type } from './frame.js'
import { PROGRESS_FRAMES_MAX } from './limits.js'
import type { LiveStep } from './live_step.js'

/** Begins to show the step's import; the answer ends it. Later nodes say who they are, and never draw over the first. */
export function showProgress(
  step: LiveStep,
  connection: Connection,
  columns: number,
  siteMode: ProgressMode,
): () => void {
  if (!step.takeSpeaker(connection)) return () => undefined
  const isFirstNode = step.facts.node === 0
  const environment = new Map(Object.entries(step.facts.env))
  const send = writer(
    connection,
    columns,
    progressMode(environment, siteMode),
    isFirstNode ? undefined : (step.facts.env.SLURMD_NODENAME ?? hostname()),
  )
  const stop = step.watch(send)
  connection.onClosed(stop)
  return stop
}

/** For a command that is alone: `berth pull`. */
export function lineProgress(connection: Connection, columns: number): (event: ImportEvent) => void {
  return writer(connection, columns, 'auto', undefined)
}

function writer(
  connection: Connection,
  columns: number,
  mode: ProgressMode,
  node: string | undefined,
): (event: ImportEvent) => void {
  const progress = new Progress(node === undefined ? { columns, mode } : { columns: 0, mode })
  let frames = 0
  return (event) => {
    const text = progress.take(event)
    if (text === '' || frames >= PROGRESS_FRAMES_MAX) return
    frames += 1
    connection.send(Type.PROGRESS, [
      [Tag.TEXT, node === undefined ? text : text.replaceAll(/^berth: /gm, `berth: ${node}: `)],
    ])
  }
}
