// SPDX-License-Identifier: Apache-2.0
/** A prepared step becomes namespaces and a launch: its own, or those of a container that runs. */
import { readlinkSync } from 'node:fs'
import type { LaunchFields } from '../engine/engine.js'
import { translate } from '../engine/translate.js'
import { type NamespaceSpec, native } from '../native.js'
import type { Plan } from '../plan/spec.js'
import { BerthError } from '../report/errors.js'
import { stepIdOf } from '../request/step_name.js'
import type { OpenedStep, PreparedStep, Rooms, StepPlace, Turn } from '../step.js'
import type { AskLogin } from '../store/access.js'
import { type Container, keyOf } from '../store/containers.js'
import type { Access } from '../store/store.js'
import type { StepFacts } from '../worker/facts.js'
import { launchWithImage } from './bare.js'
import { planFor } from './draft_plan.js'
import type { HeldImage } from './hold_image.js'
import { Hooks } from './hooks.js'
import { holdBase, joiningRequest } from './named.js'
import type { Namespaces } from './namespaces.js'
import { builderOf, placeOf, withRoot } from './open_engine.js'
import { buildFor } from './open_named.js'
import { imageWithOwnFiles, withoutOwnFiles } from './own_files.js'
import { planWith } from './plan_step.js'
import type { Instance } from './running.js'
import { type PendingSave, pendingSave } from './save.js'
import { saveError } from './save_failure.js'
import { closeTarget, openTarget, type SaveTarget } from './save_target.js'
import type { Undo } from './undo.js'

/** The step's own namespaces, on an image and, with a name, on what was written before. */
export async function openOn(
  rooms: Rooms,
  prepared: PreparedStep,
  place: StepPlace,
  turn: Turn,
  held: HeldImage,
  target: SaveTarget | undefined,
  own?: Container,
): Promise<OpenedStep> {
  const { facts, container } = prepared
  if (container === undefined) throw new Error('a step without a container opens none')
  if (container.request.unshare.includes('pid')) checkJobPids(place.pid)
  const image = own === undefined ? held.image : imageWithOwnFiles(held.image, own.path)
  const whole = await planFor(rooms, prepared, place, image)
  const plan = own === undefined ? whole : withoutOwnFiles(whole, own.path)
  const { namespaces, launch } = translate(plan, placeOf(rooms, prepared, held, place, own))
  const spec = withRoot(namespaces, plan)
  const opened: OpenedStep = {
    launch: launchWithImage(launch, facts, held.image.config),
    image: held.image,
    warnings: plan.warnings,
    notes: plan.notes,
  }
  const asked = target === undefined ? spec : { ...spec, keepUpper: true }
  const withSave = (where: Namespaces) =>
    target === undefined ? {} : { save: pendingSave(target, held, spec, where) }
  if (turn.namespaces !== undefined)
    return { ...opened, ...withSave(turn.namespaces), namespaces: turn.namespaces }
  const build = builderOf(rooms, prepared, plan, turn)
  const built = await buildFor(rooms.running, asked, turn.signal, own, build)
  const { uid } = facts
  const { request } = container
  const key = own === undefined ? {} : { key: keyOf(own) }
  const instance = rooms.running.add({ uid, ...stepIdOf(facts), request, image: held.image, ...key }, built)
  const leave = rooms.running.use(instance)
  turn.undo.add('container', leave)
  const hooks = await runHooks(rooms, plan, spec, instance, place, turn.signal).catch(async (error) => {
    // Before the next in line for its name could join it. What its end says besides is no news.
    await Promise.resolve(leave()).catch(() => undefined)
    throw error
  })
  return {
    ...opened,
    ...(hooks?.started === undefined ? {} : { started: hooks.started }),
    ...(hooks?.atEnd === undefined ? {} : { endHooks: hooks.atEnd }),
    ...withSave(built),
    launch: withVariables(opened.launch, built),
    namespaces: built,
    notes: [...plan.notes, ...built.notes],
  }
}

/** Of a container that was just built; those that join it have none. */
async function runHooks(
  { running }: Rooms,
  plan: Plan,
  spec: NamespaceSpec,
  instance: Instance,
  { pid }: StepPlace,
  signal: AbortSignal,
): Promise<Hooks | undefined> {
  if (plan.hooks.length === 0) return undefined
  const { namespaces, key, job, step } = instance
  const rootNs = key === undefined ? namespaces.rootNs : running.root(key)
  if (rootNs === undefined) throw new Error('a container with hooks has kept no root')
  const id = `berth-${job}-${step}`
  const container = { plan, spec, namespaces, rootNs, id, ...(pid === undefined ? {} : { pid }) }
  const hooks = await Hooks.open(container).finally(() => {
    if (key === undefined) native.closeFd(rootNs)
  })
  instance.atEnd = () => hooks.stop()
  await hooks.start(signal)
  return hooks
}

/** A task can only join a pid namespace below its own (setns(2)), and those are made below the worker's. */
function checkJobPids(pid: number | undefined): void {
  const own = pidNamespace('self')
  if (pid === undefined || (pidNamespace(String(pid)) ?? own) === own) return
  const problem = 'pid: the job has a pid namespace of its own on this node'
  throw new BerthError('BERTH_EOPTION', {
    option: 'container-unshare',
    problem,
    next: 'leave out pid: only processes of the job are seen there anyway',
  })
}

/** undefined: it has ended. */
function pidNamespace(process: string): string | undefined {
  try {
    return readlinkSync(`/proc/${process}/ns/pid`)
  } catch {
    return undefined
  }
}

/** What the engine made for its container is there for every task that has none of that name. */
function withVariables(launch: LaunchFields, { engineVariables = [] }: Namespaces): LaunchFields {
  return { ...launch, defaults: [...launch.defaults, ...engineVariables] }
}

/** The namespaces of another step, and a launch of its own. */
export async function joinRunning(
  rooms: Rooms,
  prepared: PreparedStep,
  instance: Instance,
  place: StepPlace,
  turn: Turn,
  target: SaveTarget | undefined,
): Promise<OpenedStep> {
  const { facts, container } = prepared
  if (container === undefined) throw new Error('a step without a container joins none')
  const { image, namespaces } = instance
  const request = joiningRequest(container.request, instance, rooms.site)
  const plan = await planWith(rooms, { facts, container: { ...container, request } }, place, image)
  // Of the translation only the launch counts: everything else is there.
  const nothing = { image: { directory: '/' }, staging: rooms.staging, idmap: false }
  const launch = withVariables(translate(plan, nothing).launch, namespaces)
  if (turn.namespaces === undefined) turn.undo.add('container', rooms.running.use(instance))
  const save =
    target === undefined ? {} : { save: await saveOf(rooms, prepared, instance, place, turn, target) }
  return {
    launch: launchWithImage(launch, facts, image?.config),
    ...save,
    namespaces,
    joined: true,
    ...(image === undefined ? {} : { image }),
    warnings: plan.warnings,
    notes: [],
  }
}

/** One node writes it: all have the same image, and their changes cannot be one. */
export async function openSaveTarget({ facts, container }: PreparedStep, place: StepPlace, undo: Undo) {
  const path = container?.request.save
  if (path === undefined || facts.node !== 0) return undefined
  const target = await openTarget(path, accessOf(facts, place))
  undo.add('save target', () => closeTarget(target))
  return target
}

/** Of a container that another step started: what was written is on disk where it has a name. */
async function saveOf(
  rooms: Rooms,
  prepared: PreparedStep,
  { key, namespaces }: Instance,
  place: StepPlace,
  turn: Turn,
  target: SaveTarget,
): Promise<PendingSave> {
  const own = rooms.store.containers.list().find((one) => keyOf(one) === key)
  if (own === undefined)
    throw saveError(target.path, 'it has no name, so only the step that started it can save it')
  const held =
    prepared.held ?? (await holdBase(rooms.store, own, accessOf(prepared.facts, place, turn.login), turn))
  return pendingSave(target, held, { upperDir: own.path }, namespaces)
}

/** Who asks the store for an image, and from where files are opened. */
export function accessOf(facts: StepFacts, place?: StepPlace, login?: AskLogin): Access {
  const { uid, gid, gids, env } = facts
  return {
    ...{ uid, gid, gids, env, cwd: place?.cwd ?? facts.cwd },
    ...(place?.mountNs === undefined ? {} : { mountNs: place.mountNs }),
    ...(login === undefined ? {} : { login }),
  }
}
