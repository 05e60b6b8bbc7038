// SPDX-License-Identifier: Apache-2.0
/**
 * Who makes the container of a step: berth itself, or an engine of the host around what berth prepares.
 *
 * An engine takes longer to start than all else, and Slurm takes a while from the step to its first task. So an engine
 * is started as soon as the image is there, on the guess that the tasks will live where the worker does and want what
 * the step's own words say. With the first task the plan is made again; an engine that was started for anything else
 * than what it says is ended, and another one started.
 */
import type { EnginePlace } from '../engine/engine.js'
import { translate } from '../engine/translate.js'
import { type NamespaceSpec, native } from '../native.js'
import type { Plan } from '../plan/spec.js'
import type { PreparedStep, Rooms, StepPlace, Turn } from '../step.js'
import type { Container } from '../store/containers.js'
import { type EngineWish, recipeOf } from './engine_place.js'
import { type BegunEngine, beginEngine, finishAround } from './engine_root.js'
import type { HeldImage } from './hold_image.js'
import { buildNamespaces, type Namespaces } from './namespaces.js'
import { rootOf } from './open_named.js'

/** Of a handle, in names that people read. */
const HANDLE_SHOWN = 8

/** Started before the first task was there. */
export interface EarlyEngine {
  recipe: string
  /** It may fail: then so does the step. */
  begun: Promise<BegunEngine>
  /** Ends it. */
  drop(): Promise<void>
}

/** Undefined: there is nothing to start, or nothing that could be known now. */
export async function startEarly(
  rooms: Rooms,
  prepared: PreparedStep,
  turn: Turn,
): Promise<EarlyEngine | undefined> {
  const { container, held } = prepared
  const isPlain = container?.id === undefined && container?.request.save === undefined
  if (container?.engine.start === undefined || held === undefined || !isPlain) return undefined
  const plan = (await prepared.draft)?.plan
  const wish = plan && wishOf(rooms, prepared, plan)
  if (plan === undefined || wish === undefined || turn.signal.aborted) return undefined
  const spec = withRoot(translate(plan, placeOf(rooms, prepared, held, {})).namespaces, plan)
  const unwanted = new AbortController()
  const undo = turn.undo.part('early engine')
  const signal = AbortSignal.any([turn.signal, unwanted.signal])
  const begun = beginEngine(wish, spec, { signal, undo })
  begun.catch(() => undefined)
  const drop = async (): Promise<void> => {
    unwanted.abort()
    await begun.catch(() => undefined)
    await undo.run()
  }
  return { recipe: recipeOf(wish, spec), begun, drop }
}

/** berth's own engine, or one of the host around what berth prepares. */
export function builderOf(
  rooms: Rooms,
  prepared: PreparedStep,
  plan: Plan,
  turn: Turn,
): (spec: NamespaceSpec) => Promise<Namespaces> {
  const wish = wishOf(rooms, prepared, plan)
  if (wish === undefined) return buildNamespaces
  return async (spec) => {
    const early = await prepared.early
    const fits = early?.recipe === recipeOf(wish, spec)
    if (!fits) await early?.drop()
    const begun = fits ? early?.begun : undefined
    return finishAround(await (begun ?? beginEngine(wish, spec, turn)), spec)
  }
}

/** Where a plan is carried out. */
export function placeOf(
  rooms: Rooms,
  { disk }: PreparedStep,
  held: HeldImage,
  place: Pick<StepPlace, 'mountNs' | 'userNs'>,
  own?: Container,
): EnginePlace {
  return {
    image: held.source,
    staging: rooms.staging,
    // Owners in a directory are real ones, and the user's own among them.
    idmap: 'device' in held.source && native.kernelFeatures().squashfsIdmap,
    ...(own === undefined ? {} : { root: rootOf(rooms.running, own) }),
    ...(disk === undefined ? {} : { disk }),
    ...(place.mountNs === undefined ? {} : { mountNs: place.mountNs }),
    ...(place.userNs === undefined ? {} : { userNs: place.userNs }),
  }
}

/** Hooks start in the root before anybody lives in it; that of a container with a name is kept anyway. */
export function withRoot(spec: NamespaceSpec, plan: Plan): NamespaceSpec {
  return plan.hooks.length === 0 || spec.upperDir !== undefined ? spec : { ...spec, keepRoot: true }
}

/** Undefined: berth is the engine. */
export function wishOf(rooms: Rooms, { facts, container }: PreparedStep, plan: Plan): EngineWish | undefined {
  if (container?.engine.start === undefined) return undefined
  const { engine, installed, user, request } = container
  const { job, step, handle } = facts
  return {
    ...{ engine, start: container.engine.start, user, plan },
    ...installed,
    args: request.engineArgs,
    path: rooms.site.get('engine_path'),
    socket: rooms.site.get('docker_socket'),
    label: job === 0 ? `berth-run-${handle.slice(0, HANDLE_SHOWN)}` : `berth-${job}-${step}`,
  }
}
