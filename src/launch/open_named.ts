// SPDX-License-Identifier: Apache-2.0
/** How a step gets its container: what runs is joined, what exists is used, what does not exist is made. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { EnginePlace } from '../engine/engine.js'
import type { ImageReference, StoredImage } from '../image/image.js'
import { parseReference } from '../image/reference.js'
import type { NamespaceSpec } from '../native.js'
import { BerthError } from '../report/errors.js'
import type { Request } from '../request/request.js'
import { formatStepName, type NamedFacts, stepIdOf } from '../request/step_name.js'
import { type Container, type ContainerId, keyOf } from '../store/containers.js'
import type { Access } from '../store/store.js'
import { explainBuildFailure } from './failure.js'
import { type HeldImage, holdImage, type ImageTurn } from './hold_image.js'
import { type EndHooks, runEndHooks } from './hooks.js'
import type { JobEnds } from './job_end.js'
import {
  type Asker,
  createContainer,
  findContainer,
  findRunning,
  holdBase,
  type NamedRooms,
} from './named.js'
import type { Namespaces } from './namespaces.js'
import type { Instance, Running } from './running.js'
import type { Undo } from './undo.js'

interface NamedTurn extends ImageTurn {
  undo: Undo
  /** The step lives in these since before the worker's restart; borrowed. */
  namespaces?: Namespaces
  /** And they are another step's. */
  joined?: boolean
  /** What the earlier worker would have done when nobody is in them any more. */
  endHooks?: EndHooks
}

/** How the engine that was picked makes namespaces. */
type Build = (spec: NamespaceSpec) => Promise<Namespaces>

interface Wanted {
  id: ContainerId
  request: Request
  reference?: ImageReference
}

/** The kernel is done with a root a moment after its last process, unless something outlived the step. */
const BUSY_WAIT_MS_MAX = 10_000
const BUSY_RETRY_MS = 20

/** One step at a time for each name. @throws BerthError */
export function openNamed<Opened>(
  rooms: NamedRooms & { jobEnds: JobEnds },
  asker: Asker & NamedFacts,
  wanted: Wanted,
  prepared: HeldImage | undefined,
  access: Access,
  turn: NamedTurn,
  ways: {
    join(instance: Instance): Promise<Opened>
    open(held: HeldImage, own: Container): Promise<Opened>
  },
): Promise<Opened> {
  const { id, request } = wanted
  const { store, running } = rooms
  return running.inTurn(keyOf(id), async () => {
    turn.signal.throwIfAborted()
    const instance = findInstance(running, asker, request, id, turn)
    if (instance !== undefined) return ways.join(instance)
    const found = findContainer(store, id, request, asker.handle)
    if (found !== undefined) {
      const known = prepared?.image.key === found.image.key ? prepared : undefined
      return ways.open(known ?? (await holdBase(store, found, access, turn)), found)
    }
    const reference = wanted.reference ?? parseReference(request.image)
    const held = prepared ?? (await holdImage(store, access, reference, turn))
    const made = createContainer(rooms, id, asker, reference, held.image)
    try {
      const opened = await ways.open(held, made)
      rooms.jobEnds.watch(made)
      return opened
    } catch (error) {
      await store.containers.letGo(store.containers.bury(made))
      throw error
    }
  })
}

/** @throws BerthError also for what the kernel refuses */
export async function buildFor(
  running: Running,
  spec: NamespaceSpec,
  signal: AbortSignal,
  own: Container | undefined,
  build: Build,
): Promise<Namespaces> {
  try {
    if (own === undefined) return await build(spec)
    const key = keyOf(own)
    if (running.named(key) === undefined) await running.settled(key)
    // Of one that an earlier worker started no copy can be made: its mounts are locked.
    else if (running.root(key) === undefined) throw new BerthError('BERTH_ENAMEBUSY', { name: own.name })
    const namespaces = await buildWhenFree(own.name, () => build(spec), signal)
    if (namespaces.rootNs !== undefined) running.keepRoot(key, namespaces.rootNs)
    return namespaces
  } catch (error) {
    throw explainBuildFailure(error, spec)
  }
}

/**
 * Removes it with all that was written. What runs in it keeps its files until it ends when `force` says so.
 * @throws BERTH_ENAMERUNNING
 */
export function removeNamed(
  { store: { containers }, running }: Pick<NamedRooms, 'store' | 'running'>,
  container: Container,
  force: boolean,
): Promise<void> {
  const key = keyOf(container)
  return running.inTurn(key, async () => {
    const instances = running.allNamed(key)
    if (instances.length > 0 && !force) {
      const steps = instances.map(formatStepName).join(', ')
      throw new BerthError('BERTH_ENAMERUNNING', { name: container.name, steps })
    }
    const grave = containers.bury(container)
    running.rename(key, grave)
    const unused = running.afterUse(grave)
    if (instances.length === 0) return unused.then(() => containers.discard(grave))
    void unused.then(() => containers.letGo(grave))
  })
}

/**
 * A container without a step: for scripts that make it first and use it later. `ensure` brings its image in the name's
 * turn: one that waits for its turn is nobody's, and may be collected.
 * @throws BERTH_ENAMEEXISTS, what `ensure` throws
 */
export function createNamed(
  rooms: NamedRooms & { jobEnds: Pick<JobEnds, 'watch'> },
  asker: Asker,
  { id, request }: Pick<Wanted, 'id' | 'request'>,
  reference: ImageReference,
  ensure: () => Promise<StoredImage>,
): Promise<void> {
  return rooms.running.inTurn(keyOf(id), async () => {
    const create = { ...request, name: { name: id.name, mode: 'create' as const } }
    findContainer(rooms.store, id, create, asker.handle || 'nobody')
    rooms.jobEnds.watch(createContainer(rooms, id, asker, reference, await ensure()))
  })
}

/** Where an engine finds what was written: on disk, or mounted for another instance. */
export function rootOf(running: Running, own: Container): NonNullable<EnginePlace['root']> {
  const rootNs = running.root(keyOf(own))
  return { directory: own.path, ...(rootNs === undefined ? {} : { rootNs }) }
}

/** The step lives in a container since before the worker's restart. */
export function adoptRunning(
  running: Running,
  asker: Pick<Asker, 'uid'> & NamedFacts,
  request: Request,
  id: ContainerId | undefined,
  turn: Pick<NamedTurn, 'undo' | 'namespaces' | 'endHooks'>,
): Instance | undefined {
  if (turn.namespaces === undefined) return undefined
  const key = id === undefined ? {} : { key: keyOf(id) }
  const instance = running.adopt({ uid: asker.uid, ...stepIdOf(asker), request, ...key }, turn.namespaces)
  const { endHooks } = turn
  if (endHooks !== undefined) instance.atEnd = () => runEndHooks(endHooks)
  turn.undo.add('container', running.use(instance))
  return instance
}

/** As far as can be told before the step's turn. */
export function willJoin(running: Running, id: ContainerId | undefined, request: Request): boolean {
  return id !== undefined && request.name?.mode === 'auto' && findRunning(running, id, request) !== undefined
}

function findInstance(
  running: Running,
  asker: Asker & NamedFacts,
  request: Request,
  id: ContainerId,
  turn: NamedTurn,
): Instance | undefined {
  if (turn.joined) return adoptRunning(running, asker, request, id, turn)
  return turn.namespaces === undefined ? findRunning(running, id, request) : undefined
}

/** Tries again while the kernel has not let go of an instance that has ended. @throws BERTH_ENAMEBUSY */
async function buildWhenFree(
  name: string,
  build: () => Promise<Namespaces>,
  signal: AbortSignal,
): Promise<Namespaces> {
  const end = performance.now() + BUSY_WAIT_MS_MAX
  for (;;) {
    try {
      return await build()
    } catch (error) {
      if (!isOverlayBusy(error)) throw error
      if (performance.now() > end) throw new BerthError('BERTH_ENAMEBUSY', { name }, { cause: error })
      await sleep(BUSY_RETRY_MS, undefined, { signal })
    }
  }
}

function isOverlayBusy(error: unknown): boolean {
  if (!(error instanceof Error && 'code' in error && 'syscall' in error)) return false
  return error.code === 'EBUSY' && error.syscall === 'fsconfig'
}
