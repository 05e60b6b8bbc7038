// SPDX-License-Identifier: Apache-2.0
/** How users name a step: JOB.STEP, JOB.batch and JOB.interactive as sacct(1) has them, run.PID for a `berth run`. */

export interface StepId {
  /** 0: of no job. */
  job: number
  /** Of no job: the pid of its `berth run`. */
  step: number
}

/** Facts of a step, as far as they name it. */
export interface NamedFacts extends StepId {
  /** Of `berth run`: its pid; `step` says nothing then. */
  process?: number
}

const NUMBERED = /^(\d{1,10})\.(\d{1,10})$/
const WORDED = /^(\d{1,10})\.(batch|interactive)$/
const OF_RUN = /^run\.(\d{1,10})$/
/** SLURM_BATCH_SCRIPT and SLURM_INTERACTIVE_STEP of slurm.h. */
const SLURM_NUMBERS: ReadonlyMap<string, number> = new Map([
  ['batch', 0xfffffffb],
  ['interactive', 0xfffffffa],
])

/** Undefined: it names no step. */
export function parseStepName(text: string): StepId | undefined {
  const [, run] = OF_RUN.exec(text) ?? []
  if (run !== undefined) return { job: 0, step: Number(run) }
  const [, job, step = ''] = NUMBERED.exec(text) ?? WORDED.exec(text) ?? []
  return job === undefined ? undefined : { job: Number(job), step: SLURM_NUMBERS.get(step) ?? Number(step) }
}

export function formatStepName({ job, step }: StepId): string {
  if (job === 0) return `run.${step}`
  const [word = step] = [...SLURM_NUMBERS].find(([, number]) => number === step) ?? []
  return `${job}.${word}`
}

export function stepIdOf({ job, step, process }: NamedFacts): StepId {
  return { job, step: process ?? step }
}
