// SPDX-License-Identifier: Apache-2.0
/**
 * When a job is over on this node, without asking Slurm's controller: its batch, extern or interactive step lives as
 * long as it does. Where it has none of them (salloc without PrologFlags=contain), its own time limit tells.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { type Native, native } from '../native.js'
import { messageOf } from '../report/errors.js'
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
    private readonly processes: Pick<Native, 'processStart' | 'watchProcess'> = native,
  ) {}

  /** At the worker's start, after steps were adopted. */
  sweep(): void {
    for (const container of this.containers.list()) this.watch(container)
  }

  watch(container: Container): void {
    const { job } = container
    if (job === undefined || this.watched.has(keyOf(container))) return
    const alive = job.processes.find((process) => this.isAlive(process))
    const over =
      job.processes.length > 0 || (job.end ?? Number.POSITIVE_INFINITY) + GRACE_SECONDS < Date.now() / 1000
    if (alive !== undefined) this.watchProcess(alive, container)
    else if (over) void this.remove(container)
  }

  private isAlive({ pid, start }: JobProcess): boolean {
    return this.processes.processStart(pid) === start
  }

  /** Never throws: whoever made the container has it. */
  private watchProcess(process: JobProcess, container: Container): void {
    const key = keyOf(container)
    try {
      this.processes
        .watchProcess(process.pid, () => {
          this.watched.delete(key)
          void this.remove(container)
        })
        .unref()
      this.watched.add(key)
    } catch (error) {
      // It may have ended just now. If not, the next worker finds the container.
      if (!this.isAlive(process)) this.watch(container)
      else
        this.log(`container ${container.name} of user ${container.uid} is not watched: ${messageOf(error)}`)
    }
  }

  /** Nobody waits for it: what fails is a line in the log. */
  private async remove(container: Container): Promise<void> {
    const key = keyOf(container)
    const name = `container ${container.name} of user ${container.uid}`
    try {
      await this.running.inTurn(key, async () => {
        await this.running.afterUse(key)
        if (this.containers.find(container)?.created !== container.created) return
        const grave = this.containers.bury(container)
        this.log(`${name} ended with its job`)
        await this.containers.letGo(grave)
      })
    } catch (error) {
      this.log(`${name} could not end with its job: ${messageOf(error)}`)
    }
  }
}

/**
 * Slurm's run as root, or as whoever runs all of it. Of others it is not even asked: their memory may be such that a
 * reader waits for ever. Who owns the directory says nothing (PR_SET_DUMPABLE).
 */
function isSlurms(pid: string): boolean {
  const uid = /^Uid:\t(\d+)/m.exec(readFile(`/proc/${pid}/status`))?.[1]
  return uid === '0' || uid === String(process.getuid?.())
}

/** slurmstepd names itself "slurmstepd: [JOB.batch]" (setproctitle in its main). */
function findProcesses(job: number): JobProcess[] {
  const title = new RegExp(`^slurmstepd: \\[${job}\\.(batch|extern|interactive)\\]`)
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isSlurms(name) && title.test(readFile(`/proc/${name}/cmdline`)))
    .map((name) => ({ pid: Number(name), start: native.processStart(Number(name)) }))
    .filter(({ start }) => start !== 0)
}

function readFile(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
