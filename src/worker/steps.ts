// SPDX-License-Identifier: Apache-2.0
/** All steps the worker knows, by handle and by task; liveness by lease connection and by pidfd of the owner. */
import { native } from '../native.js'
import { messageOf } from '../report/errors.js'
import type { Connection } from './connection.js'
import type { StepFacts } from './facts.js'
import type { Idle } from './idle.js'
import type { LeaseTask } from './leases.js'
import { REGISTER_WAIT_MS_MAX, RUNS_PER_USER_MAX } from './limits.js'
import { LiveStep, type LiveStepPorts } from './live_step.js'
import type { TaskPlace } from './place.js'

interface Entry {
  step: LiveStep
  /** Stops watching the owner and lets the worker be idle. */
  forget(): void
}

export class Steps {
  private readonly entries = new Map<string, Entry>()
  private readonly byTask = new Map<number, { step: LiveStep; task: LeaseTask }>()
  private readonly jobEnds = new Map<number, Set<() => void>>()
  private readonly awaited = new Map<string, Set<(step: LiveStep | undefined) => void>>()

  constructor(
    private readonly ports: LiveStepPorts,
    private readonly idle: Idle,
  ) {}

  /** A new step; its owner is the peer of `connection`, whose end releases it. */
  register(facts: StepFacts, connection: Connection): LiveStep | undefined {
    const pid = connection.peer.pid
    const start = native.processStart(pid)
    if (start === 0 || this.entries.has(facts.handle)) return undefined
    const step = new LiveStep({ version: 1, facts, owner: { pid, start }, tasks: [] }, this.ports)
    // Before anything is taken for it: the owner may end at any moment.
    if (!this.enter(step)) return undefined
    connection.onClosed(() => void this.release(step))
    step.start()
    return step
  }

  /** Leases of an earlier worker: what still lives is kept, the rest is released. */
  adopt(): void {
    const { leases, broken } = this.ports.leases.readAll()
    for (const name of broken) this.ports.log(`removed unreadable lease ${name}`)
    for (const lease of leases) {
      const step = new LiveStep(lease, this.ports)
      if (native.processStart(lease.owner.pid) !== lease.owner.start || !this.enter(step)) {
        this.ports.log(`${step.name}: ended while no worker ran, released`)
        void step.bury().finally(this.idle.busy())
        continue
      }
      lease.tasks = lease.tasks.filter((task) => native.processStart(task.pid) === task.start)
      this.ports.log(`${step.name}: adopted with ${lease.tasks.length} tasks`)
      step.adopt()
      for (const task of lease.tasks) this.byTask.set(task.pid, { step, task })
    }
  }

  /** Waits a moment for a REGISTER that is still on its way. */
  find(handle: string): Promise<LiveStep | undefined> {
    const known = this.entries.get(handle)
    if (known !== undefined) return Promise.resolve(known.step)
    return new Promise((resolve) => {
      const waiters = this.awaited.get(handle) ?? new Set()
      this.awaited.set(handle, waiters)
      const answer = (step: LiveStep | undefined) => {
        clearTimeout(timer)
        waiters.delete(answer)
        if (waiters.size === 0) this.awaited.delete(handle)
        resolve(step)
      }
      const timer = setTimeout(() => answer(undefined), REGISTER_WAIT_MS_MAX)
      waiters.add(answer)
    })
  }

  get(handle: string): LiveStep | undefined {
    return this.entries.get(handle)?.step
  }

  /** False when the step has announced too many tasks. */
  announce(step: LiveStep, task: LeaseTask, place: TaskPlace): boolean {
    if (!step.announce(task, place)) return false
    this.byTask.set(task.pid, { step, task })
    return true
  }

  /** The step that announced this very process (a reused pid has another start time). */
  ofTask(pid: number): { step: LiveStep; task: LeaseTask } | undefined {
    const found = this.byTask.get(pid)
    if (found === undefined || native.processStart(pid) !== found.task.start) return undefined
    return found
  }

  /** Calls `gone` once when the job's last step here is released; answers how to be left out. */
  onJobGone(job: number, gone: () => void): () => void {
    const waiting = this.jobEnds.get(job) ?? new Set()
    this.jobEnds.set(job, waiting.add(gone))
    return () => {
      if (waiting.delete(gone) && waiting.size === 0) this.jobEnds.delete(job)
    }
  }

  list(): LiveStep[] {
    return [...this.entries.values()].map(({ step }) => step)
  }

  mayRun(uid: number): boolean {
    const own = this.list().filter(({ facts }) => facts.context === 'run' && facts.uid === uid)
    return own.length < RUNS_PER_USER_MAX
  }

  async release(step: LiveStep): Promise<void> {
    const entry = this.entries.get(step.facts.handle)
    if (entry?.step !== step) return
    this.entries.delete(step.facts.handle)
    for (const [pid, { step: owner }] of this.byTask) if (owner === step) this.byTask.delete(pid)
    const { job } = step.facts
    if (!this.list().some(({ facts }) => facts.job === job))
      for (const gone of this.jobEnds.get(job) ?? []) gone()
    try {
      await step.release()
    } finally {
      entry.forget()
    }
  }

  /** The worker ends, its steps go on: their leases stay for the next worker, imports are aborted. */
  detach(): void {
    for (const { step } of this.entries.values()) step.detach()
  }

  /** False when its owner cannot be watched: it has just ended. */
  private enter(step: LiveStep): boolean {
    const watch = this.watchOwner(step)
    if (watch === undefined) return false
    const busy = this.idle.busy()
    this.entries.set(step.facts.handle, {
      step,
      forget: () => {
        watch.close()
        busy()
      },
    })
    for (const answer of [...(this.awaited.get(step.facts.handle) ?? [])]) answer(step)
    return true
  }

  private watchOwner(step: LiveStep): ReturnType<typeof native.watchProcess> | undefined {
    try {
      const watch = native.watchProcess(step.lease.owner.pid, () => void this.release(step))
      watch.unref()
      return watch
    } catch (error) {
      this.ports.log(`${step.name}: ${messageOf(error)}`)
      return undefined
    }
  }
}
