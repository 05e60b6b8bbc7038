// SPDX-License-Identifier: Apache-2.0
/**
 * An import on another node than the step's first: all nodes do the same at a time, and a thousand of them must not say so.
 * One that takes long says where it is, and that it is done.
 */
import { type ImportEvent, Progress, type ProgressMode } from './progress.js'

/** What is slow on all nodes has been told by the first one; of a node that hangs a user wants the name. */
const LONG_MS = 300_000

export class NodeProgress {
  private readonly progress: Progress
  private toldAt = 0
  private told = false

  constructor(
    private readonly node: string,
    mode: ProgressMode,
  ) {
    this.progress = new Progress({ columns: 0, mode })
  }

  /** The bytes for stderr, '' when there is nothing to show. */
  take(event: ImportEvent): string {
    if (event.kind === 'stored') return ''
    if (event.kind === 'start') this.toldAt = event.at
    if (event.kind === 'bytes') {
      if (event.at - this.toldAt < LONG_MS) return ''
      this.toldAt = event.at
      this.told = true
    }
    const text = this.progress.take(event)
    return this.told ? text.replaceAll(/^berth: /gm, `berth: ${this.node}: `) : ''
  }
}
