// SPDX-License-Identifier: Apache-2.0
/** What the launchers of a step hear: its import, its failure and its warnings, each told once on the node. */
import { hostname } from 'node:os'
import type { ImportEvent } from '../report/progress.js'
import type { OpenedStep } from '../step.js'
import type { Connection, Telling } from './connection.js'
import type { StepFacts } from './facts.js'

/** The level of srun(1)'s log, as tasks are told of it: 3 is info, each -v adds one. */
const SRUN_DEBUG_VERBOSE = 4

type ProgressListener = (event: ImportEvent) => void

export class Audience {
  private readonly listeners = new Set<ProgressListener>()
  /** The first event and the latest: what a late listener must know. */
  private startEvent: ImportEvent | undefined
  private lastEvent: ImportEvent | undefined
  /** A task that starts late says nothing of an import that an earlier one has told of. */
  private endIsTold = false
  private failureTold = false
  private speaker: Connection | undefined

  constructor(private readonly facts: StepFacts) {}

  /** Of a node that is not the step's first; what is the same on all of them is told there. */
  get laterNode(): string | undefined {
    return this.facts.node === 0 ? undefined : (this.facts.env.SLURMD_NODENAME ?? hostname())
  }

  /** Words for the first asker only: the others leave with the same exit code. */
  tellFailure(): Telling {
    if (this.failureTold) return 'silent'
    this.failureTold = true
    return this.laterNode === undefined ? 'whole' : { node: this.laterNode }
  }

  /** What was asked for and has no effect, and for srun -v what explain notes: for one launcher of the job. */
  warningsOf({ warnings, notes }: OpenedStep): string {
    if (this.facts.node !== 0) return ''
    const isVerbose = Number(this.facts.env.SRUN_DEBUG) >= SRUN_DEBUG_VERBOSE
    return [
      ...warnings.map((line) => `warning: ${line}`),
      ...(isVerbose ? notes : []).map((line) => `note: ${line}`),
    ]
      .map((line) => `berth: ${line}\n`)
      .join('')
  }

  /** True for the first launcher that asks, and for the next one when that has gone before the end was told. */
  takeSpeaker(connection: Connection): boolean {
    if (this.speaker?.isOpen || this.endIsTold) return false
    this.speaker = connection
    return true
  }

  watch(listener: ProgressListener): () => void {
    this.listeners.add(listener)
    if (this.startEvent !== undefined) listener(this.startEvent)
    if (this.lastEvent !== undefined) listener(this.lastEvent)
    this.noteEnd()
    return () => this.listeners.delete(listener)
  }

  tell(event: ImportEvent): void {
    if (event.kind === 'start') [this.startEvent, this.lastEvent] = [event, undefined]
    else this.lastEvent = event
    for (const listener of this.listeners) listener(event)
    this.noteEnd()
  }

  private noteEnd(): void {
    const kind = this.lastEvent?.kind
    if (this.listeners.size > 0 && (kind === 'end' || kind === 'stored')) this.endIsTold = true
  }
}
