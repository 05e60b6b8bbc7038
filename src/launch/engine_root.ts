// SPDX-License-Identifier: Apache-2.0
/** Namespaces around what an engine of the host makes of the prepared root: view, engine, namespaces of the step. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Engine, StartPlace } from '../engine/engine.js'
import { type BuiltNamespace, type MountStep, type NamespaceSpec, native } from '../native.js'
import { BerthError, messageOf } from '../report/errors.js'
import { DIST } from '../site/dist.js'
import { type EngineWish, engineEnvironment, enginePlace, shownFolder } from './engine_place.js'
import { EngineRun, type ViewPlace, type ViewRole } from './engine_run.js'
import { type Holder, HolderDoor, openHolder } from './holder.js'
import { buildNamespaces, type Namespaces } from './namespaces.js'
import type { Undo } from './undo.js'

interface EngineTurn {
  signal: AbortSignal
  undo: Undo
}

const ROOT = { uid: 0, gid: 0, gids: [] }
/** From a cold disk, with hooks and helpers, on a node whose tasks all start. */
const START_MS_MAX = 60_000
/** The holder ends at once; its engine has a little to write. */
const END_MS_MAX = 5000
const COMMAND_MS_MAX = 10_000
const LINES_SHOWN = 3
const HOLD = join(DIST, 'berth-hold')
const ID_BYTES = 4
const DIRECTORY_MODE = 0o755
/** For root and its daemons. */
const SHOWN_MODE = 0o700

/** An engine that holds a container in a view. Whoever has it makes the step's namespaces around it. */
export interface BegunEngine {
  view: BuiltNamespace
  holder: Holder
  /** Name of the holder's program in the root, and where that root is in the container. */
  inRoot: { name: string; inside: string }
  /** "K=V" */
  variables: string[]
  /** Descriptors that are closed when the namespaces are made, or with the step. */
  open: Set<number>
  close(): void
}

/** @throws BerthError BERTH_EENGINESTART, NativeError */
export async function beginEngine(
  wish: EngineWish,
  spec: NamespaceSpec,
  turn: EngineTurn,
): Promise<BegunEngine> {
  const door = new HolderDoor(spec.uid)
  const program = `.${door.name}`
  const id = `${wish.label}-${randomBytes(ID_BYTES).toString('hex')}`
  const place = enginePlace(wish, spec.staging, { id, hold: [`/${program}`, door.name] })
  const open = new Set<number>()
  const close = (): void => {
    if (wish.start.byDaemon === true) hideRoot(place.root)
    for (const fd of open) native.closeFd(fd)
    open.clear()
  }
  try {
    const building = buildView(spec, wish, place, program)
    const running = new RunningEngine(wish, place, roleOf(wish, place, spec))
    turn.undo.add('engine', () => running.end())
    const view = await building
    turn.undo.add('view', close)
    for (const fd of [view.prepared, view.upper, view.rootNs]) if (fd !== undefined) open.add(fd)
    if (wish.start.byDaemon === true) showRoot(place.root, view)
    const { userNs } = spec
    const where = { mountNs: view.mountNs, ...(userNs === undefined ? {} : { userNs }) }
    const holder = await running.begin(where, door, turn.signal)
    open.add(holder.mountNs).add(holder.root)
    const inRoot = { name: program, inside: wish.start.rootInside ?? '/' }
    return { view, holder, inRoot, variables: running.variables(holder), open, close }
  } catch (error) {
    close()
    throw error
  } finally {
    door.close()
  }
}

/** The namespaces of a step around the container that an engine holds. @throws NativeError */
export async function finishAround(begun: BegunEngine, spec: NamespaceSpec): Promise<Namespaces> {
  const { view, holder, inRoot, variables } = begun
  const { mountNs, root } = holder
  try {
    const engine = { mountNs, root, prepared: view.prepared ?? -1, ...inRoot }
    const built = await buildNamespaces({ ...spec, engine })
    const { upper, rootNs } = view
    for (const fd of [upper, rootNs]) if (fd !== undefined) begun.open.delete(fd)
    return {
      ...built,
      engineVariables: variables,
      notes: [...view.notes, ...built.notes],
      ...(upper === undefined ? {} : { upper }),
      ...(rootNs === undefined ? {} : { rootNs }),
      ...(spec.keepUpper === true ? { made: [...view.made, ...(built.made ?? [])] } : {}),
    }
  } finally {
    begun.close()
  }
}

/** What a daemon is to mount must be in its own namespace; gone again once its container has a copy. */
function showRoot(path: string, { prepared = -1 }: BuiltNamespace): void {
  mkdirSync(path, { recursive: true, mode: SHOWN_MODE })
  native.showTree(prepared, path)
}

function hideRoot(path: string): void {
  if (!existsSync(path)) return
  native.hideTree(path)
  rmdirSync(path)
}

/** At the worker's start: one that was killed has left its roots mounted, and their images with them. */
export function hideLeftovers(staging: string, log: (line: string) => void): void {
  const folder = shownFolder(staging)
  if (!existsSync(folder)) return
  for (const name of readdirSync(folder))
    try {
      hideRoot(join(folder, name))
    } catch (error) {
      log(`a root of an earlier worker stays mounted: ${messageOf(error)}`)
    }
}

async function buildView(
  spec: NamespaceSpec,
  { start }: EngineWish,
  place: StartPlace,
  name: string,
): Promise<BuiltNamespace> {
  const mounts = start.mountPoints.map(directory)
  const { files, hidden = [] } = start
  const view = { program: HOLD, name, files: files?.(place) ?? [], hidden }
  try {
    return await native.buildNamespace({ ...spec, mounts, view })
  } catch (error) {
    // It counts these mounts and not the user's.
    if (error instanceof Error && 'step' in error) delete error.step
    throw error
  }
}

/** One engine, from its start to the end of all it left behind. */
class RunningEngine {
  /** Made while the view still is. */
  private readonly run = new EngineRun()
  private view: ViewPlace | undefined
  private holder: Holder | undefined

  constructor(
    private readonly wish: EngineWish,
    private readonly place: StartPlace,
    private readonly role: ViewRole,
  ) {}

  async begin(view: ViewPlace, door: HolderDoor, signal: AbortSignal): Promise<Holder> {
    this.view = view
    signal.throwIfAborted()
    for (const { unless, command } of this.wish.start.before?.(this.place) ?? [])
      if ((await this.once(unless, view)) !== 0) await this.once(command, view)
    const run = this.run.start(this.wish.start.command(this.place), this.role, view)
    const late = new AbortController()
    const stop = AbortSignal.any([signal, late.signal])
    const timeout = sleep(START_MS_MAX, 'late' as const, { signal: stop })
    timeout.catch(() => undefined)
    try {
      const came = await Promise.race([door.arrived, this.failed(run), timeout])
      if (came === 'ended') {
        await run.finish()
        throw this.error(run, exitProblem(this.wish.engine, run))
      }
      if (came === 'late') throw this.error(run, `no container after ${START_MS_MAX / 1000} s`)
      const holder = await openHolder(came)
      if (holder === undefined) throw this.error(run, 'its container ended at once')
      this.holder = holder
      return holder
    } finally {
      late.abort()
    }
  }

  /** What the engine and its hooks have added; a task's own variables go before. */
  variables({ environment }: Holder): string[] {
    const own = [
      ...Object.keys(this.role.environment),
      ...SHELL_VARIABLES,
      ...(this.wish.start.ownVariables ?? []),
    ]
    const isOwn = (name: string) =>
      own.some((word) => (word.endsWith('*') ? name.startsWith(word.slice(0, -1)) : name === word))
    const added = [...environment].filter(([name]) => !isOwn(name)).map(([name, value]) => `${name}=${value}`)
    return added.join('').length > VARIABLES_BYTES_MAX ? [] : added
  }

  /** The holder goes, then the engine by itself, then by its own command, then by force. */
  async end(): Promise<void> {
    const { run, holder, view } = this
    holder?.close()
    const bySelf = holder !== undefined && run.exitCode === undefined && (await run.isEnded(END_MS_MAX))
    if (view !== undefined && !bySelf)
      for (const command of this.wish.start.teardown?.(this.place) ?? []) await this.once(command, view)
    // Podman's pause process never ends by itself.
    await run.kill()
    if (view !== undefined) native.closeFd(view.mountNs)
  }

  /** The exit code of a short command; undefined where it took too long. */
  private async once(command: readonly string[], view: ViewPlace): Promise<number | undefined> {
    const run = new EngineRun().start(command, this.role, view)
    await run.isGone(COMMAND_MS_MAX)
    await run.kill()
    return run.exitCode
  }

  /** A program that leaves the container running says so by 0. */
  private async failed(run: EngineRun): Promise<'ended'> {
    await run.ended
    if (run.exitCode === 0) await run.gone
    return 'ended'
  }

  private error(run: EngineRun, problem: string): BerthError {
    const said = run.summary(LINES_SHOWN)
    const { engine } = this.wish
    return new BerthError('BERTH_EENGINESTART', { engine: engine.name, problem, said: said || 'nothing' })
  }
}

/** As a shell would make them, should a hook or wrapper be one. */
const SHELL_VARIABLES = ['PWD', 'OLDPWD', 'SHLVL', '_', 'TERM', 'HOSTNAME', 'container']
/** Beside the task's own, within what execve(2) takes. */
const VARIABLES_BYTES_MAX = 256 << 10

function exitProblem({ exitCodes }: Engine, run: EngineRun): string {
  const code = run.exitCode
  if (code === undefined) return 'it could not be run'
  const meaning = exitCodes[code]
  return meaning === undefined ? `exit code ${code}` : `exit code ${code} (${meaning})`
}

function roleOf(wish: EngineWish, place: StartPlace, { uid, gid, gids }: NamespaceSpec): ViewRole {
  const user = wish.start.byDaemon === true ? ROOT : { uid, gid, gids }
  return { user, environment: engineEnvironment(wish, place) }
}

function directory(target: string): MountStep {
  return { kind: 'dir', target, mode: DIRECTORY_MODE }
}
