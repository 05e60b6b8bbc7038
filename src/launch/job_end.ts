// SPDX-License-Identifier: Apache-2.0
/**
 * When a job is over on this node, without asking Slurm's controller: its batch, extern or interactive step lives as
 * long as it does. Where it has none of them (salloc without PrologFlags=contain), its own time limit tells.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { native } from '../native.js'
import type { Containers, JobProcess } from '../store/containers.js'
import { type Container, keyOf } from '../store/containers.js'
import type { Running } from './running.js'

/** Limits can be extended while a job runs (scontrol update), and a step may start after that. */
const GRACE_SECONDS = 24 * 60 * 60

export function jobOf(job: number, env: Readonly<Record<string, string>>): NonNullable<Container['job']> {
  const end = Number(env.SLURM_JOB_END_TIME ?? Number.NaN)
  return { processes: findProcesses(job), ...(Number.isSafeInteger(end) && end > 0 ? { end } : {}) }
}

/** Removes containers of jobs that are over, now and when others end. */
export class JobEnds {
  private readonly watched = new Set<string>()

  constructor(
    private readonly containers: Containers,
    private readonly running: Running,
    private readonly log: (line: string) => void,
  ) {}

  /** At the worker's start, after steps were adopted. */
  sweep(): void {
    for (const container of this.containers.list()) this.watch(container)
  }

  watch(container: Container): void {
    const { job } = container
    if (job === undefined || this.watched.has(keyOf(container))) return
    const alive = job.processes.find(({ pid, start }) => native.processStart(pid) === start)
    if (alive === undefined) {
      const over =
        job.processes.length > 0 || (job.end ?? Number.POSITIVE_INFINITY) + GRACE_SECONDS < Date.now() / 1000
      if (over) void this.remove(container)
      return
    }
    this.watched.add(keyOf(container))
    native
      .watchProcess(alive.pid, () => {
        this.watched.delete(keyOf(container))
        void this.remove(container)
      })
      .unref()
  }

  private async remove(container: Container): Promise<void> {
    const key = keyOf(container)
    await this.running.inTurn(key, async () => {
      await this.running.afterUse(key)
      if (this.containers.find(container)?.created !== container.created) return
      await this.containers.discard(this.containers.bury(container))
      this.log(`container ${container.name} of user ${container.uid} ended with its job`)
    })
  }
}

/** slurmstepd names itself "slurmstepd: [JOB.batch]" (setproctitle in its main). */
function findProcesses(job: number): JobProcess[] {
  const title = new RegExp(`^slurmstepd: \\[${job}\\.(batch|extern|interactive)\\]`)
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && title.test(readTitle(name)))
    .map((name) => ({ pid: Number(name), start: native.processStart(Number(name)) }))
    .filter(({ start }) => start !== 0)
}

function readTitle(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return ''
  }
}
