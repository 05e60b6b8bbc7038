// SPDX-License-Identifier: Apache-2.0
/** What `berth doctor` and `berth ps` are told. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StepRow } from '../cli/ps.js'
import { DIST } from '../site/dist.js'
import { shortName } from './facts.js'
import type { Worker } from './worker.js'

export interface WorkerStatus {
  version: string
  pid: number
  /** Resident bytes. */
  rss: number
  /** Seconds since the epoch. */
  started: number
  steps: number
  siteErrors: string[]
  /** The file that it has read. */
  config: string
  /** KEY=VALUE arguments that it was started with; a worker of before this field tells none. */
  given?: Record<string, string>
}

export function workerStatus(worker: Worker): WorkerStatus {
  return {
    version: ownVersion(),
    pid: process.pid,
    rss: process.memoryUsage.rss(),
    started: worker.started,
    steps: worker.steps.list().length,
    siteErrors: worker.site.errors.map(({ message }) => message),
    config: worker.site.get('config'),
    given: worker.options.given,
  }
}

/** A user sees their own steps, root all. */
export function listSteps(worker: Worker, uid: number): StepRow[] {
  return worker.steps
    .list()
    .filter(({ facts }) => uid === 0 || facts.uid === uid)
    .map((step) => ({
      step: shortName(step.facts),
      uid: step.facts.uid,
      job: step.facts.job,
      stepId: step.facts.step,
      name: step.containerName,
      image: step.imageName,
      engine: step.engineName,
      state: step.state,
      pids: step.pids,
      id: step.facts.id ?? '',
      owner: step.lease.owner.pid,
      cwd: step.facts.cwd,
      since: step.since,
    }))
}

function ownVersion(): string {
  const text = readFileSync(join(DIST, '..', 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
