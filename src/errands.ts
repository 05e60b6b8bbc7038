// SPDX-License-Identifier: Apache-2.0
/** What is asked of the rooms without a step: images ahead of one, a digest for a job, containers with a name, engines. */
import { describeEngines, type EngineRow } from './engine/describe.js'
import type { ImageReference, StoredImage } from './image/image.js'
import { parseReference, pinReference } from './image/reference.js'
import { fromDockerd } from './launch/dockerd_image.js'
import { copyWithConfig, type HandoutPlace } from './launch/hand_out.js'
import { ensureImage } from './launch/hold_image.js'
import { containerId } from './launch/named.js'
import { accessOf } from './launch/open.js'
import { createNamed, removeNamed } from './launch/open_named.js'
import { pinnedOption } from './request/pin.js'
import { DIST } from './site/dist.js'
import { parseStep, type Rooms, type Turn } from './step.js'
import type { AskLogin } from './store/access.js'
import type { Container } from './store/containers.js'
import type { StepFacts } from './worker/facts.js'

type ImageErrand = Pick<Turn, 'signal' | 'progress' | 'login'>

/** Imports without a step: prefetch, `berth pull`. */
export async function pullImage(
  rooms: Rooms,
  facts: StepFacts,
  turn: ImageErrand,
): Promise<StoredImage | undefined> {
  const request = parseStep(rooms, facts)
  if (request === undefined || request.image === '') return undefined
  // Who has a container of that name needs no image for it.
  const id = request.name && containerId(rooms.site, facts, request.name.name)
  if (id !== undefined && rooms.store.containers.find(id) !== undefined) return undefined
  const reference = parseReference(request.image)
  if (reference.source.kind === 'directory') return undefined
  return ensureFor(rooms, facts, reference, turn)
}

/** A stored image as a file that says all of itself. @throws Error with `code` */
export function copyImage(
  rooms: Rooms,
  image: StoredImage,
  uri: string,
  place: HandoutPlace,
  signal: AbortSignal,
): Promise<void> {
  return copyWithConfig(rooms, DIST, image, uri, place, signal)
}

/** What this node has, in the order of `auto`. */
export function listEngines({ site, findEngine }: Rooms): Promise<EngineRow[]> {
  return describeEngines(site, findEngine)
}

/** What a user has under names here; root has all. */
export function listContainers({ store }: Rooms, uid: number): Container[] {
  return store.containers.list(uid === 0 ? undefined : uid)
}

/** @throws BerthError BERTH_ENAMERUNNING */
export function removeContainer(rooms: Rooms, container: Container, force: boolean): Promise<void> {
  return removeNamed(rooms, container, force)
}

/** The container of that name, made without a step. @throws BerthError */
export async function makeContainer(rooms: Rooms, facts: StepFacts, turn: ImageErrand): Promise<void> {
  const request = parseStep(rooms, facts)
  if (request?.name === undefined || request.image === '') return
  const id = containerId(rooms.site, facts, request.name.name)
  const reference = parseReference(request.image)
  const ensure = () => ensureFor(rooms, facts, reference, turn)
  await createNamed(rooms, facts, { id, request }, reference, ensure)
}

/**
 * The option that names the image by digest, so that every node of the job gets the same, in the words in which the
 * user gave it; undefined when there is nothing to pin.
 */
export async function pinImage(
  rooms: Rooms,
  facts: StepFacts,
  login?: AskLogin,
): Promise<string | undefined> {
  const request = parseStep(rooms, facts)
  if (request === undefined || request.image === '') return undefined
  const reference = parseReference(request.image)
  if (reference.source.kind !== 'registry' || reference.source.digest !== undefined) return undefined
  if (rooms.site.get('importer') !== '') return undefined
  const access = accessOf(facts, undefined, login)
  // A name may exist on the nodes already, and the image then counts for nothing: it must not fail the job here.
  const failed = (error: unknown) => (request.name === undefined ? Promise.reject(error) : { digest: '' })
  const { digest } = await rooms.store.resolve(reference, access).catch(failed)
  if (digest === '') return undefined
  const environment = new Map(Object.entries(facts.env))
  return pinnedOption({ options: facts.options, environment }, pinReference(reference, digest).canonical)
}

function ensureFor(
  { store }: Rooms,
  facts: StepFacts,
  reference: ImageReference,
  turn: ImageErrand,
): Promise<StoredImage> {
  const access = accessOf(facts, undefined, turn.login)
  return fromDockerd(store, reference, facts, turn, (saved, told) =>
    ensureImage(store, access, saved, { ...turn, ...told }),
  )
}
