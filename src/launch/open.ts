// SPDX-License-Identifier: Apache-2.0
/** A prepared step becomes namespaces and a launch: its own, or those of a container that runs. */
import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { LaunchFields } from '../engine/engine.js'
import { translate } from '../engine/translate.js'
import type { StoredImage } from '../image/image.js'
import { type NamespaceSpec, native } from '../native.js'
import { type PlanInput, planStep } from '../plan/plan.js'
import { clientName } from '../plan/pmi_mounts.js'
import type { ActiveProfile } from '../plan/profile_choice.js'
import type { Plan } from '../plan/spec.js'
import { BerthError } from '../report/errors.js'
import type { OpenedStep, PreparedStep, Rooms, StepPlace, Turn } from '../step.js'
import type { AskLogin } from '../store/access.js'
import { type Container, keyOf } from '../store/containers.js'
import type { Access } from '../store/store.js'
import type { StepFacts } from '../worker/facts.js'
import { acceleratorFacts } from './accelerator_facts.js'
import { launchImageCommand } from './bare.js'
import { listDevices } from './devices.js'
import type { EngineWish } from './engine_place.js'
import { buildAround } from './engine_root.js'
import type { HeldImage } from './hold_image.js'
import { Hooks } from './hooks.js'
import type { WantedMpi } from './host_mpi.js'
import { holdBase, joiningRequest } from './named.js'
import { buildNamespaces, type Namespaces } from './namespaces.js'
import { buildFor, rootOf } from './open_named.js'
import { imageWithOwnFiles, withoutOwnFiles } from './own_files.js'
import type { Instance } from './running.js'
import { type PendingSave, pendingSave } from './save.js'
import { saveError } from './save_failure.js'
import { closeTarget, openTarget, type SaveTarget } from './save_target.js'
import { pmixDirectories } from './slurm_files.js'
import type { Undo } from './undo.js'

/** In dist/, which this folder is in. */
const LAUNCHER = 'berth-exec'
/** Of a handle, in names that people read. */
const HANDLE_SHOWN = 8

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
  const whole = await planWith(rooms, prepared, place, image)
  const plan = own === undefined ? whole : withoutOwnFiles(whole, own.path)
  const { namespaces: spec, launch } = translate(plan, {
    image: held.source,
    staging: rooms.staging,
    // Owners in a directory are real ones, and the user's own among them.
    idmap: 'device' in held.source && native.kernelFeatures().squashfsIdmap,
    ...(own === undefined ? {} : { root: rootOf(rooms.running, own) }),
    ...(place.mountNs === undefined ? {} : { mountNs: place.mountNs }),
    ...(place.userNs === undefined ? {} : { userNs: place.userNs }),
  })
  const opened: OpenedStep = {
    launch: facts.imageCommand ? launchImageCommand(launch, held.image.config) : launch,
    image: held.image,
    warnings: plan.warnings,
    notes: plan.notes,
  }
  const asked = {
    ...spec,
    ...(target === undefined ? {} : { keepUpper: true }),
    ...(plan.hooks.length === 0 || own !== undefined ? {} : { keepRoot: true }),
  }
  const withSave = (built: Namespaces) =>
    target === undefined ? {} : { save: pendingSave(target, held, spec, built) }
  if (turn.namespaces !== undefined)
    return { ...opened, ...withSave(turn.namespaces), namespaces: turn.namespaces }
  const build = builderOf(rooms, prepared, plan, turn)
  const namespaces = await buildFor(rooms.running, asked, turn.signal, own, build)
  const { uid, job, step } = facts
  const { request } = container
  const key = own === undefined ? {} : { key: keyOf(own) }
  const instance = rooms.running.add({ uid, job, step, request, image: held.image, ...key }, namespaces)
  turn.undo.add('container', rooms.running.use(instance))
  await runHooks(rooms, plan, spec, instance, place, turn.signal)
  return {
    ...opened,
    ...withSave(namespaces),
    launch: withVariables(opened.launch, namespaces),
    namespaces,
    notes: [...plan.notes, ...namespaces.notes],
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
): Promise<void> {
  if (plan.hooks.length === 0) return
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

/** berth's own engine, or one of the host around what berth prepares. */
function builderOf(
  rooms: Rooms,
  prepared: PreparedStep,
  plan: Plan,
  turn: Turn,
): (spec: NamespaceSpec) => Promise<Namespaces> {
  const wish = wishOf(rooms, prepared, plan)
  return wish === undefined ? buildNamespaces : (spec) => buildAround(wish, spec, turn)
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
  const request = joiningRequest(container.request, instance)
  const plan = await planWith(rooms, { facts, container: { ...container, request } }, place, image)
  // Of the translation only the launch counts: everything else is there.
  const nothing = { image: { directory: '/' }, staging: rooms.staging, idmap: false }
  const launch = withVariables(translate(plan, nothing).launch, namespaces)
  if (turn.namespaces === undefined) turn.undo.add('container', rooms.running.use(instance))
  const save =
    target === undefined ? {} : { save: await saveOf(rooms, prepared, instance, place, turn, target) }
  return {
    launch: facts.imageCommand ? launchImageCommand(launch, image?.config) : launch,
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

export async function planWith(
  rooms: Rooms,
  prepared: PreparedStep,
  place: StepPlace,
  stored: StoredImage | undefined,
): Promise<Plan> {
  const { facts, container } = prepared
  if (container === undefined) throw new Error('a step without a container has no plan')
  const { request, engine, reference, user } = container
  const input: PlanInput = {
    request,
    image: {
      reference: reference?.canonical ?? '',
      ...(stored === undefined ? {} : { stored, facts: await rooms.store.facts(stored) }),
    },
    engine: engine.name,
    site: rooms.site,
    user,
    launcher: join(import.meta.dirname, '..', LAUNCHER),
    step: {
      context: facts.context,
      job: facts.job,
      step: facts.step,
      cwd: place.cwd,
      environment: place.environment ?? new Map(Object.entries(facts.env)),
      ...(facts.script === undefined ? {} : { script: facts.script }),
    },
  }
  const accelerators = await acceleratorFacts(input, place.pid)
  const own = request.unshare.includes('ipc') || accelerators.newNames === true
  const host = await rooms.host.read(mpiOfProfiles(accelerators.profiles?.active ?? []))
  return planStep({
    ...input,
    host: {
      ...host,
      accelerators,
      pmixClients: pmixDirectories(rooms.site.get('slurm_conf'), clientName(input)),
    },
    ...(own ? { devices: listDevices() } : {}),
  })
}

/** MPI installations that the step's profiles name. */
function mpiOfProfiles(active: readonly ActiveProfile[]): WantedMpi | undefined {
  const naming = active.filter(({ profile }) => profile.mpi !== undefined)
  if (naming.length === 0) return undefined
  const origin = `profile ${naming.map(({ profile }) => profile.name).join(', ')}`
  return { named: naming.flatMap(({ profile }) => profile.mpi ?? []), origin }
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
