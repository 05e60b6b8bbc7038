// SPDX-License-Identifier: Apache-2.0
/** What a name stands for: whose, in which scope, and whether it runs, exists or has to be made (pyxis-compatible). */
import type { ImageReference, StoredImage } from '../image/image.js'
import { familiarName, parseReference } from '../image/reference.js'
import { BerthError } from '../report/errors.js'
import type { Namespace, Request } from '../request/request.js'
import { parseStepName } from '../request/step_name.js'
import type { Site } from '../site/site.js'
import {
  type Container,
  type ContainerFacts,
  type ContainerId,
  GLOBAL_SCOPE,
  keyOf,
} from '../store/containers.js'
import type { Access, Store } from '../store/store.js'
import { ensureImage, type HeldImage, type ImageTurn } from './hold_image.js'
import { jobOf } from './job_end.js'
import type { Instance, Running } from './running.js'
import type { Undo } from './undo.js'

/** What is known about who asks, of a step or a command. */
export interface Asker {
  handle: string
  uid: number
  job: number
  env: Readonly<Record<string, string>>
}

export interface NamedRooms {
  site: Pick<Site, 'get'>
  store: Store
  running: Running
}

const JOB_SCOPE = /^job-(\d+)$/
/** Each is a few inodes of root's, which no disk quota counts. */
const CONTAINERS_PER_USER_MAX = 1000
const NAMESPACE_WORDS: readonly (readonly [Namespace, string])[] = [
  ['net', 'network namespace'],
  ['ipc', 'IPC namespace'],
  ['uts', 'UTS namespace'],
  ['pid', 'PID namespace'],
]
/** A container with a name is made to be changed and kept: it is writable unless the user says otherwise. */
export function withNameDefaults(request: Request): Request {
  if (request.name === undefined || request.readonly !== undefined) return request
  return { ...request, readonly: false }
}

export function containerId(site: NamedRooms['site'], asker: Asker, name: string): ContainerId {
  // `berth run` inside of a job: which job is the user's word, but only their own containers are found by it.
  const job = asker.job === 0 ? Number(asker.env.SLURM_JOB_ID ?? 0) : asker.job
  const inJob = site.get('container_scope') === 'job' && Number.isSafeInteger(job) && job > 0
  return { uid: asker.uid, scope: inJob ? `job-${job}` : GLOBAL_SCOPE, name }
}

/** The running container that a step joins; undefined: it starts one of its own. @throws BERTH_ENAMEIDLE */
export function findRunning(running: Running, id: ContainerId, request: Request): Instance | undefined {
  const mode = request.name?.mode ?? 'auto'
  if (mode !== 'auto' && mode !== 'exec') return undefined
  const step = parseStepName(id.name)
  const instance = running.named(keyOf(id)) ?? (step === undefined ? undefined : running.ofStep(id.uid, step))
  if (instance === undefined && mode === 'exec') throw new BerthError('BERTH_ENAMEIDLE', { name: id.name })
  return instance
}

/** What a step that joins cannot change: the flag that asks for it, and for the opposite where that would be missed. */
const FIXED: readonly ['mountHome' | 'mountCwd' | 'readonly' | 'remapRoot' | 'shmSize', string, string?][] = [
  ['mountHome', 'container-mount-home'],
  ['mountCwd', 'container-mount-cwd'],
  ['readonly', 'container-readonly', 'container-writable'],
  ['remapRoot', 'container-remap-root', 'no-container-remap-root'],
  ['shmSize', 'container-shm-size'],
]

/** What a step that joins wants of its own, and what it cannot have. @throws BERTH_EUNSHARED */
export function joiningRequest(request: Request, instance: Instance, site: Pick<Site, 'get'>): Request {
  const name = request.name?.name ?? ''
  for (const [namespace, words] of NAMESPACE_WORDS) {
    const missing = request.unshare.includes(namespace) && instance.namespaces.ids[namespace] === undefined
    if (missing) throw new BerthError('BERTH_EUNSHARED', { namespace, words, name })
  }
  const { mountHome: _home, mountCwd: _cwd, remapRoot: _remap, shmSize: _size, ...rest } = request
  const ignored = changesOf(request, instance, site).map(
    (flag) => `ignoring --${flag} because the container "${name}" is running already`,
  )
  return {
    ...rest,
    ...(instance.request.remapRoot === undefined ? {} : { remapRoot: instance.request.remapRoot }),
    mounts: [],
    unshare: [],
    entrypoint: false,
    workdir: request.workdir ?? '/',
    warnings: [...request.warnings, ...ignored],
  }
}

/** Flags that ask for another container than the one that runs. */
function changesOf(request: Request, { request: first }: Instance, site: Pick<Site, 'get'>): string[] {
  const known: Partial<Request> = {
    mountHome: site.get('container_mount_home'),
    mountCwd: false,
    remapRoot: site.get('container_remap_root'),
    readonly: !site.get('container_writable'),
    ...first,
  }
  const changed = FIXED.filter(([key]) => request[key] !== undefined && request[key] !== known[key])
  return [
    ...(request.mounts.length > 0 ? ['container-mounts'] : []),
    ...changed.flatMap(([key, yes, no]) => (request[key] === false ? no : yes) ?? []),
  ]
}

/** The container on disk, with what `create` and a missing image mean. @throws BERTH_ENAMEEXISTS, BERTH_ENAMEMISSING */
export function findContainer(
  store: Store,
  id: ContainerId,
  request: Request,
  handle: string,
): Container | undefined {
  const container = store.containers.find(id)
  // A step that a new worker starts over has made it itself.
  if (container !== undefined && request.name?.mode === 'create' && container.creator !== handle)
    throw new BerthError('BERTH_ENAMEEXISTS', { name: id.name })
  if (container === undefined && request.image === '')
    throw new BerthError('BERTH_ENAMEMISSING', { name: id.name })
  return container
}

/** @throws BERTH_ENAMECOUNT */
export function createContainer(
  { store }: Pick<NamedRooms, 'store'>,
  id: ContainerId,
  asker: Asker,
  reference: ImageReference,
  image: StoredImage,
): Container {
  const { uid } = id
  if (store.containers.list(uid).length >= CONTAINERS_PER_USER_MAX)
    throw new BerthError('BERTH_ENAMECOUNT', { uid, count: CONTAINERS_PER_USER_MAX })
  const [, job] = JOB_SCOPE.exec(id.scope) ?? []
  const facts: ContainerFacts = {
    creator: asker.handle,
    image: {
      key: image.key,
      reference: reference.canonical,
      ...(isInStore(image) ? {} : { path: image.path }),
    },
    ...(job === undefined ? {} : { job: jobOf(Number(job), asker.env) }),
  }
  return store.containers.create(id, facts)
}

/** The image that a container was made from, on its loop device. @throws BERTH_ENAMEBASE */
export async function holdBase(
  store: Store,
  container: Container,
  access: Access,
  turn: ImageTurn & { undo: Undo },
): Promise<HeldImage> {
  const image = store.byKey(container.image.key) ?? (await openBase(store, container, access, turn))
  const shown = familiarName(referenceOf(container))
  if (image?.key !== container.image.key)
    throw new BerthError('BERTH_ENAMEBASE', { name: container.name, image: shown })
  const lease = await store.hold(image)
  turn.undo.add('image', () => lease.release())
  return { image, source: { device: lease.device } }
}

export function referenceOf({ image }: Container): ImageReference {
  return parseReference(image.path ?? image.reference)
}

async function openBase(
  store: Store,
  { image }: Container,
  access: Access,
  turn: ImageTurn,
): Promise<StoredImage | undefined> {
  if (image.path === undefined) return undefined
  const { pinned: _pinned, ...rest } = turn
  try {
    return await ensureImage(store, access, parseReference(image.path), {
      ...rest,
      progress: () => undefined,
    })
  } catch (error) {
    if (error instanceof BerthError && error.code === 'BERTH_EIMAGEFILE') return undefined
    throw error
  }
}

/** Files that only root can have written are mounted where they are. */
function isInStore(image: StoredImage): boolean {
  return !image.key.startsWith('file-')
}
