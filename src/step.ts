// SPDX-License-Identifier: Apache-2.0
/**
 * The story of one step, from what Slurm said to what its tasks join:
 *
 *   parse    raw options and environment → Request (the one grammar), or no container at all
 *   prepare  pick the engine, resolve the image, ensure it is in the store, hold it mounted   (from REGISTER on)
 *   open     plan, translate, build the namespaces                                            (at the first task)
 *   join     each task gets the same namespaces, as one frame
 *   save     after the last task, where it was asked for: image and changes become a new image
 *   release  the undo stack, last taken first given back
 *
 * `srun`, `sbatch` and `berth run` differ in who sends the facts, not in what happens here.
 */

import type { Engine, LaunchFields } from './engine/engine.js'
import type { Installed } from './engine/installed.js'
import { pickEngine, pickInstalled } from './engine/select.js'
import type { ImageReference, StoredImage } from './image/image.js'
import { checkRegistry } from './image/policy.js'
import { familiarName, parseReference } from './image/reference.js'
import { launchAsIs } from './launch/bare.js'
import { fromDockerd } from './launch/dockerd_image.js'
import { type Draft, draftPlan } from './launch/draft_plan.js'
import { shownStart } from './launch/engine_place.js'
import { type HeldImage, holdImage } from './launch/hold_image.js'
import type { EndHooks } from './launch/hooks.js'
import { type JoinFrame, joinFrame } from './launch/join.js'
import { containerId, holdBase, referenceOf, withNameDefaults } from './launch/named.js'
import { type Namespaces, reopenNamespaces, settleFirst } from './launch/namespaces.js'
import { accessOf, joinRunning, openOn, openSaveTarget } from './launch/open.js'
import { type EarlyEngine, startEarly, wishOf } from './launch/open_engine.js'
import { adoptRunning, openNamed, willJoin } from './launch/open_named.js'
import { planWith } from './launch/plan_step.js'
import type { Rooms } from './launch/rooms.js'
import { type PendingSave, type SaveTurn, saveContainer } from './launch/save.js'
import { importBySite, releaseBySite } from './launch/site_importer.js'
import { makeStepDisk } from './launch/step_disk.js'
import { Undo } from './launch/undo.js'
import { findUser } from './launch/user.js'
import { explainPlan } from './plan/explain.js'
import type { PlanUser } from './plan/input.js'
import { checkNamedProfiles } from './plan/profile_choice.js'
import type { Reason } from './plan/spec.js'
import { BerthError } from './report/errors.js'
import type { ImportEvent } from './report/progress.js'
import { parseRequest } from './request/grammar.js'
import type { Request } from './request/request.js'
import { DIST } from './site/dist.js'
import type { AskLogin } from './store/access.js'
import { type ContainerId, keyOf } from './store/containers.js'
import type { StepFacts } from './worker/facts.js'

export type { LoginQuestion } from './image/login_answer.js'
/** Whether a plan must wait for what only a task knows. */
export { waitsForLauncher } from './launch/draft_plan.js'
/** The end of a container whose worker has died. */
export { type EndHooks, runEndHooks } from './launch/hooks.js'
export { openRooms, type Rooms } from './launch/rooms.js'
/** Variables that the options mention: what the worker must keep of a job's environment. */
export { variablesNeeded } from './request/grammar.js'
/** Steps as users name them. */
export { formatStepName, stepIdOf } from './request/step_name.js'
export type { AskLogin } from './store/access.js'

/** What one run of the story may use and must heed. */
export interface Turn {
  signal: AbortSignal
  undo: Undo
  progress(event: ImportEvent): void
  /** Asks a process of the user's. */
  login?: AskLogin
  /** The image that an earlier worker had found for this step: the tag may have moved since. */
  pinned?: { key: string; digest: string }
  /** Namespaces that tasks of this step already live in; borrowed. */
  namespaces?: Namespaces
  /** They are those of a container that another step started. */
  joined?: boolean
  /** Of that container, since the worker that made it has gone. */
  endHooks?: EndHooks
  /** The site's importer is asked: from now on its release is owed. */
  importerAsked?(): void
}

/** Where a step's container hangs: cwd, environment and namespaces of its first task. */
export interface StepPlace {
  cwd: string
  /** The launcher's own environment, where one has asked already. */
  environment?: ReadonlyMap<string, string>
  /** Absent: the worker's own. */
  mountNs?: number
  userNs?: number
  /** Of a task: whose cgroup says which devices the step may open. */
  pid?: number
  /** Closes the descriptors. */
  close(): void
}

export interface PreparedStep {
  facts: StepFacts
  /** Absent: the step runs on the host after all (`none`, or a scope that leaves the batch script outside). */
  container?: PreparedContainer
  /** Absent for a local image: only a task can say where that is. */
  held?: HeldImage
  /** The block device of a step that writes to disk without a name. */
  disk?: string
  /** Undefined where none was made. It does not fail. */
  draft?: Promise<Draft | undefined>
  /** An engine that was started before the first task; undefined where none could be. It does not fail. */
  early?: Promise<EarlyEngine | undefined>
}

interface PreparedContainer {
  request: Request
  engine: Engine
  installed: Installed
  /** Why this engine. */
  why: Reason
  /** Absent: only a name was given, and nothing of that name is there yet. */
  reference?: ImageReference
  user: PlanUser
  /** The image as a user would write it. */
  shown: string
  /** Of a container with a name. */
  id?: ContainerId
  key?: string
}

export interface OpenedStep {
  launch: LaunchFields
  namespaces?: Namespaces
  /** The container is another step's. */
  joined?: boolean
  image?: StoredImage
  /** When the first task's program runs. @throws BerthError BERTH_EHOOK, which fails nothing any more */
  started?(signal: AbortSignal): Promise<void>
  /** For a worker after this one: what its container wants done at the end. */
  endHooks?: EndHooks
  /** Launchers stay until it is done. */
  save?: PendingSave
  /** For the user, before the payload. */
  warnings: string[]
  /** For the log: a kernel fallback, an optional mount that is not there. */
  notes: string[]
}

/** Grammar, policy and spelling. @throws BerthError: the words cannot be understood, or are not offered here */
export function parseStep({ site }: Rooms, facts: StepFacts): Request | undefined {
  const [broken] = site.errors
  if (broken !== undefined) throw broken
  const request = parseRequest({
    options: facts.options,
    environment: new Map(Object.entries(facts.env)),
    context: facts.context,
    defaultScope: site.get('batch_scope'),
  })
  if (request === undefined) return undefined
  pickEngine(request, site, { partition: partitionOf(facts) })
  checkNamedProfiles(request, site.profiles)
  if (request.name === undefined || request.image !== '') {
    const reference = parseReference(request.image)
    checkRegistry(reference, site)
    if (reference.source.kind === 'directory') checkDirectory(request)
  }
  return withNameDefaults(request)
}

/** What slurmstepd has put into the job's environment: it chooses a default, it forbids nothing. */
function partitionOf({ env }: StepFacts): string {
  return env.SLURM_JOB_PARTITION ?? ''
}

/** What lies in a directory may change at any time: nothing is kept that would be built on it. */
function checkDirectory({ name, save }: Request): void {
  const option = save !== undefined ? 'container-save' : name === undefined ? undefined : 'container-name'
  if (option !== undefined)
    throw new BerthError('BERTH_EOPTION', {
      option,
      problem: 'the image cannot be a directory',
      next: 'make a squashfs file of it (mksquashfs), or run it without the flag',
    })
}

/** Everything that can be done before a task is there; it runs while Slurm is still starting them. */
export async function prepareStep(rooms: Rooms, facts: StepFacts, turn: Turn): Promise<PreparedStep> {
  const request = parseStep(rooms, facts)
  if (request === undefined) return { facts }
  const partition = partitionOf(facts)
  const picked = await pickInstalled(request, rooms.site, rooms.findEngine, { partition })
  const id = request.name === undefined ? undefined : containerId(rooms.site, facts, request.name.name)
  const adopted = adoptRunning(rooms.running, facts, request, id, turn)
  const existing = id === undefined ? undefined : rooms.store.containers.find(id)
  const image = request.image === '' ? undefined : parseReference(request.image)
  const reference = existing === undefined ? image : referenceOf(existing)
  const access = accessOf(facts, undefined, turn.login)
  const fresh = turn.namespaces === undefined && !request.explain
  const disk = fresh ? await makeStepDisk(rooms, facts.uid, request, turn.undo) : undefined
  const hold = async (): Promise<HeldImage | undefined> => {
    if (request.explain || reference === undefined || reference.source.kind === 'squashfs') return undefined
    if (existing !== undefined) return holdBase(rooms.store, existing, access, turn)
    if (reference.source.kind === 'dockerd')
      return fromDockerd(rooms.store, reference, facts, turn, (saved, told) =>
        holdImage(rooms.store, access, saved, { ...turn, ...told }),
      )
    if (reference.source.kind !== 'registry' || willJoin(rooms.running, id, request)) return undefined
    // A site may bring images its own way; what it names is a file like any of the user's.
    const file = await importBySite(rooms.site, reference, request.image, facts, turn)
    return holdImage(rooms.store, access, file ?? reference, turn)
  }
  const [user, held] = await Promise.all([findUser(facts), hold()])
  if (adopted !== undefined && held !== undefined) adopted.image = held.image
  const container: PreparedContainer = {
    ...{ request, ...picked, user, shown: reference === undefined ? '' : familiarName(reference) },
    ...(reference === undefined ? {} : { reference }),
    ...(id === undefined ? {} : { id, key: keyOf(id) }),
  }
  const known: PreparedStep = {
    ...{ facts, container },
    ...(held === undefined ? {} : { held }),
    ...(disk === undefined ? {} : { disk }),
  }
  const prepared = { ...known, draft: draftPlan(rooms, known, turn) }
  return { ...prepared, early: startEarly(rooms, prepared, turn) }
}

/** Plan, translate, build: at the first task, whose cwd and namespaces they need. */
export async function openStep(
  rooms: Rooms,
  prepared: PreparedStep,
  place: StepPlace,
  turn: Turn,
): Promise<OpenedStep> {
  const { facts, container } = prepared
  if (container === undefined) return { launch: launchAsIs, warnings: [], notes: [] }
  const { id, request } = container
  const target = await openSaveTarget(prepared, place, turn.undo)
  const access = accessOf(facts, place, turn.login)
  if (id !== undefined)
    return openNamed(rooms, facts, { ...container, id }, prepared.held, access, turn, {
      join: (instance) => joinRunning(rooms, prepared, instance, place, turn, target),
      open: (held, own) =>
        rooms.running.holding(keyOf(own), () => openOn(rooms, prepared, place, turn, held, target, own)),
    })
  const reference = container.reference ?? parseReference(request.image)
  const held = prepared.held ?? (await holdImage(rooms.store, access, reference, turn))
  return openOn(rooms, prepared, place, turn, held, target)
}

/** @throws BerthError BERTH_ESAVE; the file that was there is unchanged then */
export function saveStep({ site }: Rooms, pending: PendingSave, turn: SaveTurn): Promise<void> {
  return saveContainer(site, DIST, pending, turn)
}

/** The frame that one task gets, whose launcher is `pid`; all tasks of the step the same. */
export function joinStep({ launch, namespaces, save }: OpenedStep, pid: number): JoinFrame {
  if (namespaces !== undefined) settleFirst(namespaces, pid)
  return joinFrame(launch, namespaces, { stay: save !== undefined })
}

/** The plan as JSON; of the image only what is known without importing it. */
export async function explainStep(
  rooms: Rooms,
  prepared: PreparedStep,
  place: StepPlace,
  login?: AskLogin,
): Promise<string> {
  const { facts, container } = prepared
  if (container === undefined) return '{}\n'
  const { id, reference } = container
  const existing = id === undefined ? undefined : rooms.store.containers.find(id)
  const base = existing === undefined ? undefined : rooms.store.byKey(existing.image.key)
  const image = base ?? (reference && (await rooms.store.find(reference, accessOf(facts, place, login))))
  const plan = await planWith(rooms, prepared, place, image)
  const unknown = 'the image is not imported here: its own settings are not known yet'
  const wish = wishOf(rooms, prepared, plan)
  const start = wish === undefined ? {} : { start: shownStart(wish, rooms.staging) }
  const whole = image === undefined ? { ...plan, warnings: [...plan.warnings, unknown] } : plan
  return explainPlan(whole, { why: container.why, ...start })
}

/** What a step owes that ended while no worker ran. @throws the file system's error */
export function releaseImport({ site }: Rooms, facts: StepFacts): Promise<void> {
  return releaseBySite(site, facts)
}

/** What a step holds and must give back. */
export function beginStep(log: (line: string) => void): Undo {
  return new Undo(log)
}

/** After a worker's crash: the namespaces, taken from a task that lives in them; owned by the caller. */
export function reopenStep(
  ids: Record<string, string>,
  task: { pid: number; start: number },
): Namespaces | undefined {
  return reopenNamespaces(ids, task.pid, task.start)
}

export type Reopen = typeof reopenStep
