// SPDX-License-Identifier: Apache-2.0
/**
 * One registered step while it lives: what is known, who waits, what must be given back. The work itself is
 * src/step.ts; this object only makes sure it is done once for all tasks, told once, and undone at the end.
 */

import type { StoredImage } from '../image/image.js'
import type { JoinFrame } from '../launch/join.js'
import type { Namespaces } from '../launch/namespaces.js'
import type { Undo } from '../launch/undo.js'
import { native } from '../native.js'
import { BerthError, messageOf } from '../report/errors.js'
import type { LogFields } from '../report/log.js'
import type { Request } from '../request/request.js'
import { type OpenedStep, type PreparedStep, type StepPlace, type Turn, waitsForLauncher } from '../step.js'
import { Audience } from './audience.js'
import { nameStep } from './facts.js'
import type { Lease, Leases, LeaseTask } from './leases.js'
import { TASKS_PER_STEP_MAX } from './limits.js'
import { Logins } from './login.js'
import { reopenPlace, type TaskPlace, workerPlace } from './place.js'
import { StepSave } from './step_save.js'
import type { Story } from './story.js'

export interface LiveStepPorts {
  story: Story
  leases: Leases
  log(line: string, fields?: LogFields): void
}

export class LiveStep {
  readonly name: string
  /** Launchers that hear how it goes. */
  readonly audience: Audience
  readonly save: StepSave
  private readonly undo: Undo
  private readonly abort = new AbortController()
  private request: Request | undefined
  private container: PreparedStep['container']
  private prepared: Promise<PreparedStep> | undefined
  private opened: Promise<OpenedStep> | undefined
  private reopened: Namespaces | undefined
  private place: TaskPlace | undefined
  private ended = false
  private failed = false
  private running = false
  private startedTold = false
  /** The process of a ticket; it becomes the command. */
  private launcher: number | undefined
  /** Launchers that wait, of whom credentials may be asked. */
  readonly logins = new Logins()
  readonly since = Date.now() / 1000

  constructor(
    readonly lease: Lease,
    private readonly ports: LiveStepPorts,
  ) {
    this.name = nameStep(lease.facts)
    this.audience = new Audience(lease.facts)
    this.undo = ports.story.begin((line) => this.log(line))
    this.save = new StepSave(lease.facts, ports.story, this.undo, this.signal)
  }

  private log(line: string): void {
    this.ports.log(`${this.name}: ${line}`, { uid: this.facts.uid })
  }

  get facts(): Lease['facts'] {
    return this.lease.facts
  }

  get isEnded(): boolean {
    return this.ended
  }

  /** The user wants to see the plan and to run nothing. */
  get explains(): boolean {
    return this.request?.explain === true
  }

  get imageName(): string {
    return this.container?.shown ?? this.request?.image ?? ''
  }

  /** The name of its container, '' when it has none. */
  get containerName(): string {
    return this.request?.name?.name ?? ''
  }

  /** Key of the named container that it started or joined. */
  get containerKey(): string | undefined {
    return this.container?.key
  }

  get engineName(): string {
    return this.container?.engine.name ?? this.request?.engine ?? ''
  }

  /** Its first processes here: Slurm's tasks, or the one of `berth run`, which nobody announces. */
  get pids(): number[] {
    const tasks = this.lease.tasks.map(({ pid }) => pid)
    return this.launcher === undefined ? tasks : [...tasks, this.launcher]
  }

  get state(): string {
    if (this.failed) return 'failed'
    return this.running || this.reopened !== undefined ? 'running' : 'starting'
  }

  get signal(): AbortSignal {
    return this.abort.signal
  }

  /** Begins resolve and import; the result is awaited by the tasks. */
  start(): void {
    this.ports.leases.write(this.lease)
    this.prepared = this.prepare()
    this.prepared.catch((error: unknown) => this.noteFailure(error))
  }

  /** After a worker's crash: the namespaces of a task that still runs in them are used again. */
  adopt(): void {
    const ids = this.lease.namespaces
    if (ids !== undefined) {
      for (const task of this.lease.tasks) {
        this.reopened = this.ports.story.reopen(ids, task)
        if (this.reopened !== undefined) break
      }
      const { reopened } = this
      if (reopened === undefined) {
        delete this.lease.namespaces
        void this.endContainer()
      } else {
        this.undo.add('namespaces', () => {
          for (const { fd } of reopened.fds.splice(0)) native.closeFd(fd)
        })
      }
    }
    const { place, tasks } = this.lease
    const found = place === undefined ? undefined : reopenPlace(place, tasks, this.ports.story.reopen)
    if (found !== undefined) this.takePlace(found)
    this.start()
  }

  /** After a worker's crash: it has ended meanwhile. */
  async bury(): Promise<void> {
    await this.endContainer()
    if (this.lease.importerAsked)
      await this.ports.story.releaseImport(this.facts).catch((error: unknown) => this.log(messageOf(error)))
    await this.release()
  }

  /** Nobody is left in what an earlier worker made; once, whatever becomes of this one. */
  private async endContainer(): Promise<void> {
    const { endHooks } = this.lease
    if (endHooks === undefined) return
    delete this.lease.endHooks
    this.ports.leases.write(this.lease)
    await this.ports.story.runEndHooks(endHooks).catch((error: unknown) => this.log(messageOf(error)))
  }

  /**
   * Remembers the task before it is acknowledged, so that a crash in between loses nothing. The first one's place is
   * the step's; descriptors of the others are closed.
   */
  announce(task: LeaseTask, place: TaskPlace): boolean {
    const others = this.lease.tasks.filter(({ pid }) => pid !== task.pid)
    if (this.ended || others.length >= TASKS_PER_STEP_MAX) return false
    this.lease.tasks = [...others, task]
    if (this.place === undefined && this.opened === undefined) this.takePlace(place)
    else place.close()
    this.ports.leases.write(this.lease)
    if (this.request?.save !== undefined) this.save.expect(task.pid)
    return true
  }

  /** Builds while Slurm still starts the task, unless the plan needs what only the launcher's environment says. */
  prepareOpening(): void {
    if (!this.explains && !waitsForLauncher(this.facts, this.request)) void this.open(async () => undefined)
  }

  /** Builds the namespaces at the first call; every later one gets the same. */
  open(environment: () => Promise<ReadonlyMap<string, string> | undefined>): Promise<OpenedStep> {
    if (this.opened === undefined) {
      this.opened = this.openOnce(environment())
      this.opened.catch(() => undefined)
    }
    return this.opened
  }

  /** The plan as JSON; nothing is imported or built for it. */
  async explain(environment: ReadonlyMap<string, string> | undefined): Promise<string> {
    const place = this.placeWith(environment)
    return this.ports.story.explain(await this.prepareResult(), place, this.turn().login)
  }

  /** The frame for one task. */
  join(opened: OpenedStep, pid: number): JoinFrame {
    this.running = true
    if (this.facts.context === 'run') this.launcher = pid
    return this.ports.story.join(opened, pid)
  }

  /** The first task's program runs: hooks that wait for that begin, and hold nobody up. */
  noteStarted({ started }: OpenedStep): void {
    if (this.startedTold || this.ended) return
    this.startedTold = true
    started?.(this.signal).catch((error: unknown) => {
      if (!this.ended) this.log(messageOf(error))
    })
  }

  /** For one launcher of the job, before its program. */
  takeWarnings(opened: OpenedStep): string {
    return this.running ? '' : this.audience.warningsOf(opened)
  }

  /** Aborts what runs, gives everything back, forgets the lease. */
  async release(): Promise<void> {
    if (this.ended) return
    this.ended = true
    if (this.save.isForgotten) this.log(`${this.request?.save} was not saved: not all of its tasks started`)
    this.abort.abort()
    this.logins.close()
    this.ports.leases.remove(this.facts.handle)
    await this.undo.run()
  }

  /** Stops the work and keeps the lease: the next worker starts over. */
  detach(): void {
    this.ended = true
    this.abort.abort()
    this.logins.close()
  }

  private prepareResult(): Promise<PreparedStep> {
    if (this.prepared === undefined) throw new Error('step was not started')
    return this.prepared
  }

  private async prepare(): Promise<PreparedStep> {
    this.request = this.ports.story.parse(this.facts)
    const prepared = await this.ports.story.prepare(this.facts, this.turn())
    this.remember(prepared.held?.image)
    this.container = prepared.container
    return prepared
  }

  private async openOnce(environment: Promise<ReadonlyMap<string, string> | undefined>): Promise<OpenedStep> {
    const place = this.placeWith(await environment)
    const prepared = await this.prepareResult()
    const opened = await this.ports.story.open(prepared, place, this.turn()).catch((error: unknown) => {
      this.noteFailure(error)
      throw error
    })
    if (opened.joined) this.lease.joined = true
    if (opened.endHooks !== undefined) this.lease.endHooks = opened.endHooks
    this.remember(opened.image, opened.namespaces)
    for (const note of opened.notes) this.log(note)
    return opened
  }

  private takePlace(place: TaskPlace): void {
    this.place = place
    this.lease.place = place.known
    this.undo.add('place', () => place.close())
  }

  /** A step of `berth run` has no announced task: it lives where the worker does. */
  private placeWith(environment: ReadonlyMap<string, string> | undefined): StepPlace {
    const place = this.place ?? workerPlace(this.lease.place?.cwd ?? this.facts.cwd)
    const pid = this.lease.tasks[0]?.pid
    return {
      ...place,
      ...(environment === undefined ? {} : { environment }),
      ...(pid === undefined ? {} : { pid }),
    }
  }

  private turn(): Turn {
    return {
      signal: this.signal,
      undo: this.undo,
      progress: (event) => this.audience.tell(event),
      login: (question) => this.logins.ask(question),
      importerAsked: () => this.noteImporter(),
      ...(this.lease.image === undefined ? {} : { pinned: this.lease.image }),
      ...(this.reopened === undefined ? {} : { namespaces: this.reopened }),
      ...(this.lease.joined === undefined ? {} : { joined: true }),
      ...(this.lease.endHooks === undefined ? {} : { endHooks: this.lease.endHooks }),
    }
  }

  private noteImporter(): void {
    if (this.ended || this.lease.importerAsked) return
    this.lease.importerAsked = true
    this.ports.leases.write(this.lease)
  }

  /** What a worker after this one must find again. */
  private remember(image: StoredImage | undefined, namespaces?: Namespaces): void {
    const known = this.lease.image?.key === image?.key && this.lease.namespaces === namespaces?.ids
    if (this.ended || known) return
    if (image !== undefined) this.lease.image = { key: image.key, digest: image.digest }
    if (namespaces !== undefined) this.lease.namespaces = namespaces.ids
    this.ports.leases.write(this.lease)
  }

  private noteFailure(error: unknown): void {
    this.failed = true
    if (this.ended) return
    const known = error instanceof BerthError ? `${error.code} ${error.message}` : undefined
    this.log(`failed: ${known ?? (error instanceof Error ? error.stack : error)}`)
  }
}
