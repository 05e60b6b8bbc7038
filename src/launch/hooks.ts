// SPDX-License-Identifier: Apache-2.0
/**
 * OCI hooks of a new container, run as the step's user. Those of the runtime see the job's tree with the container's root
 * beside it (a view, as engines get one), startContainer the container itself; poststart comes when the first task's program
 * runs, poststop when the last step has left.
 */
import { createHash } from 'node:crypto'
import { close as closeFile, createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type NamespaceSpec, native } from '../native.js'
import { explainPlan } from '../plan/explain.js'
import type { HookStage } from '../plan/hooks.js'
import type { Plan, PlannedHook } from '../plan/spec.js'
import { BerthError, codeOf } from '../report/errors.js'
import { EngineRun, type ViewPlace, type ViewRole } from './engine_run.js'
import { explainBuildFailure } from './failure.js'
import type { Namespaces } from './namespaces.js'
import type { ProgramUser } from './tend.js'

interface HookContainer {
  plan: Plan
  spec: NamespaceSpec
  namespaces: Namespaces
  /** Where its root can be had from; borrowed. */
  rootNs: number
  /** Of a task that waits for the container. */
  pid?: number
  /** "berth-JOB-STEP" */
  id: string
}

/** What is left to do when a container ends, also for a worker that did not make it. */
export interface EndHooks {
  hooks: PlannedHook[]
  user: ProgramUser
  state: HookState
}

/** What a hook finds on its standard input (runtime-spec, "State"), but for what changes. */
interface HookState {
  ociVersion: string
  id: string
  bundle: string
  annotations: object
}

type HookPlace = ViewRole & ViewPlace

const STATUS: Readonly<Record<HookStage, string>> = {
  prestart: 'creating',
  createRuntime: 'creating',
  createContainer: 'creating',
  startContainer: 'created',
  poststart: 'running',
  poststop: 'stopped',
}
const BEFORE: readonly HookStage[] = ['prestart', 'createRuntime', 'createContainer']
const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const LINES_SHOWN = 3
const MS = 1000

/** The hooks of one container. */
export class Hooks {
  private readonly state: HookState

  private constructor(
    private readonly container: HookContainer,
    /** Owned: the job's tree, and the container's root on the staging directory. */
    private readonly view: number,
  ) {
    const { plan, id, spec } = container
    const { ociVersion, annotations } = plan
    this.state = { ociVersion, id, bundle: join(spec.staging, 'work'), annotations }
  }

  /** @throws BerthError BERTH_ENAMESPACE and its like, where the root cannot be shown */
  static async open(container: HookContainer): Promise<Hooks> {
    const { spec, rootNs, plan } = container
    const { keepRoot: _, keepUpper: __, ...rest } = spec
    const files = [{ name: 'config.json', content: configOf(plan, join(spec.staging, 'root')) }]
    const view = { program: '', name: '', files, hidden: [] }
    try {
      const built = await native.buildNamespace({ ...rest, mounts: [], unshare: [], rootNs, view })
      if (built.prepared !== undefined) native.closeFd(built.prepared)
      return new Hooks(container, built.mountNs)
    } catch (error) {
      throw explainBuildFailure(error, { image: spec.image, mounts: [] })
    }
  }

  /** Those before the first task. @throws BerthError BERTH_EHOOK */
  async start(signal: AbortSignal): Promise<void> {
    for (const stage of [...BEFORE, 'startContainer'] as const)
      for (const hook of this.of(stage)) await this.run(hook, signal)
  }

  /** Those after the first task's program began, if any. @throws as stop() */
  get started(): ((signal: AbortSignal) => Promise<void>) | undefined {
    const hooks = this.of('poststart')
    return hooks.length === 0 ? undefined : (signal) => runAll(hooks, (hook) => this.run(hook, signal))
  }

  /** Each of them runs, whatever the others did. @throws BerthError BERTH_EHOOK of the first that failed */
  async stop(): Promise<void> {
    try {
      await runAll(this.of('poststop'), (hook) => this.run(hook))
    } finally {
      // It may be the last that holds a disk: never on the loop.
      closeFile(this.view, () => undefined)
    }
  }

  /** For a worker after this one. */
  get atEnd(): EndHooks | undefined {
    const hooks = this.of('poststop')
    const { uid, gid, gids } = this.container.spec
    return hooks.length === 0 ? undefined : { hooks, user: { uid, gid, gids }, state: this.state }
  }

  private of(stage: HookStage): PlannedHook[] {
    return this.container.plan.hooks.filter((hook) => hook.stage === stage)
  }

  private run(hook: PlannedHook, signal?: AbortSignal): Promise<void> {
    const place = hook.stage === 'startContainer' ? this.inside(hook) : this.outside(hook)
    return runHook(hook, place, stateText(hook, this.state, this.container.pid), signal)
  }

  private outside({ env }: PlannedHook): HookPlace {
    const { uid, gid, gids, userNs } = this.container.spec
    return {
      ...{ mountNs: this.view, user: { uid, gid, gids }, environment: variables(env) },
      ...(userNs === undefined ? {} : { userNs }),
    }
  }

  private inside({ env }: PlannedHook): HookPlace {
    const { spec, namespaces } = this.container
    const of = (wanted: string) => namespaces.fds.find(({ name }) => name === wanted)?.fd
    const [mountNs, userNs] = [of('mnt') ?? this.view, of('user')]
    const user = { uid: spec.insideUid, gid: spec.insideGid, gids: spec.gids }
    return { mountNs, user, environment: variables(env), ...(userNs === undefined ? {} : { userNs }) }
  }
}

/**
 * The end of a container whose worker has died: its root and its bundle went with that one, so the hooks see the node's
 * own tree. @throws as Hooks.stop()
 */
export async function runEndHooks({ hooks, user, state }: EndHooks): Promise<void> {
  const own = await open('/proc/self/ns/mnt')
  try {
    await runAll(hooks, (hook) => {
      const place = { mountNs: own.fd, user, environment: variables(hook.env) }
      return runHook(hook, place, stateText(hook, state))
    })
  } finally {
    await own.close()
  }
}

async function runAll(
  hooks: readonly PlannedHook[],
  run: (hook: PlannedHook) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = []
  for (const hook of hooks) await run(hook).catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw failures[0]
}

async function runHook(
  hook: PlannedHook,
  place: HookPlace,
  state: string,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted()
  const { stage, path, args, seconds } = hook
  const untrusted = stage === 'startContainer' ? undefined : await distrust(hook)
  const fail = (problem: string, said = '') => {
    const hookName = [path, ...args].join(' ')
    return new BerthError('BERTH_EHOOK', { stage, hook: hookName, problem, said: said || 'nothing' })
  }
  if (untrusted !== undefined) throw fail(untrusted)
  const run = new EngineRun(state).start([path, ...args], place, place)
  const abort = (): void => void run.kill()
  signal?.addEventListener('abort', abort, { once: true })
  const isOver = await run.isEnded(seconds * MS)
  const { exitCode } = run
  await run.finish()
  signal?.removeEventListener('abort', abort)
  signal?.throwIfAborted()
  const said = run.summary(LINES_SHOWN)
  if (!isOver) throw fail(`it was not done after ${seconds} s`, said)
  if (exitCode !== 0)
    throw fail(exitCode === undefined ? 'it could not be run' : `exit code ${exitCode}`, said)
}

function stateText({ stage }: PlannedHook, { ociVersion, id, ...rest }: HookState, pid?: number): string {
  const alive = pid === undefined || stage === 'poststop' ? {} : { pid }
  return `${JSON.stringify({ ociVersion, id, status: STATUS[stage], ...alive, ...rest })}\n`
}

/** The plan as the runtime's configuration, without berth's own part. */
function configOf(plan: Plan, root: string): string {
  const { berth: _, ...config } = JSON.parse(explainPlan(plan))
  return `${JSON.stringify({ ...config, root: { ...config.root, path: root } }, undefined, 2)}\n`
}

function variables(env: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    [PATH, ...env].map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]),
  )
}

/** Why a program is not the one that the site has allowed; undefined: it is. */
async function distrust({ path, digest }: PlannedHook): Promise<string | undefined> {
  try {
    const file = await open(path)
    try {
      if (!(await native.onlyRootWrote(file.fd))) return 'others than root can change it'
    } finally {
      await file.close()
    }
    if (digest === '') return undefined
    const hash = createHash('sha256')
    for await (const piece of createReadStream(path)) hash.update(piece)
    const found = `sha256:${hash.digest('hex')}`
    return found === digest ? undefined : `it has ${found}, hooks_allow says ${digest}`
  } catch (error) {
    return `it cannot be read (${codeOf(error)})`
  }
}
