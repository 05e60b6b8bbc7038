// SPDX-License-Identifier: Apache-2.0
/**
 * Images that the docker of the node has (dockerd://): its client is asked as the user, with the user's environment, and
 * what it saves is read like a file of the user's.
 */
import { fstat } from 'node:fs'
import type { ImageReference } from '../image/image.js'
import { native } from '../native.js'
import { BerthError } from '../report/errors.js'
import type { Store } from '../store/store.js'
import { type ImageTurn, shortName } from './hold_image.js'
import { lastLines, type ProgramFile, runAsUser } from './run_as_user.js'
import type { ProgramUser } from './tend.js'

/** Who asks, and by which environment the client finds its daemon. */
interface DockerUser extends ProgramUser {
  env: Readonly<Record<string, string>>
}

/** What the client reads. */
const ENVIRONMENT = /^(DOCKER_|XDG_|HOME$|USER$|PATH$|TMPDIR$)/
/** The config's digest, or with containerd's store that of the manifest, and the bytes of its layers. */
const INSPECTED = /^(sha256:[0-9a-f]{64}) (\d{1,15})$/

/** Progress is told by what docker has written so far. */
const LOOK_MS = 200

/**
 * `use` gets the reference with what the store needs for it, for as long as it takes; another kind of reference as it is.
 * An image that this user has in the store is not saved again. What is saved is an import that has begun.
 * @throws BerthError BERTH_EDOCKERD, BERTH_ECANCELED, what `use` throws
 */
export async function fromDockerd<T>(
  store: Store,
  reference: ImageReference,
  user: DockerUser,
  turn: Pick<ImageTurn, 'signal' | 'progress'>,
  use: (reference: ImageReference, told: Pick<ImageTurn, 'begun'>) => Promise<T>,
): Promise<T> {
  const { source, canonical } = reference
  if (source.kind !== 'dockerd') return use(reference, {})
  const ask = (words: readonly string[], file?: ProgramFile) =>
    askDocker(canonical, words, user, turn.signal, file)
  const said = await ask(['image', 'inspect', '--format', '{{.Id}} {{.Size}}', source.image])
  const [, id, size] = INSPECTED.exec(said.trim()) ?? []
  if (id === undefined) throw failure(canonical, 'its `image inspect` told no ID and size')
  if (store.hasFor(user.uid, id)) return use({ ...reference, source: { ...source, id } }, {})
  const { fd: archive, bytesMax } = store.openScratch(Number(size))
  try {
    const saving = () => ask(['save', source.image], { stdout: archive, bytesMax })
    await whileTold(turn, shortName(reference), { archive, size: Number(size) }, saving)
    return await use({ ...reference, source: { ...source, archive } }, { begun: true })
  } finally {
    native.closeFd(archive)
  }
}

/** Docker says nothing itself; the archive grows towards a size that is about the image's. */
async function whileTold(
  { progress }: Pick<ImageTurn, 'progress'>,
  image: string,
  { archive, size }: { archive: number; size: number },
  work: () => Promise<unknown>,
): Promise<void> {
  progress({ kind: 'start', image, at: performance.now() })
  let isOver = false
  const tell = (done: number) => {
    const total = done <= size ? size : 0
    const none = { layersDone: 0, layers: 0 }
    progress({ kind: 'bytes', done, total, ...none, from: 'docker', at: performance.now() })
  }
  tell(0)
  const timer = setInterval(() => {
    fstat(archive, (error, stat) => {
      if (error === null && !isOver) tell(stat.size)
    })
  }, LOOK_MS)
  try {
    await work()
  } catch (error) {
    progress({ kind: 'failed', at: performance.now() })
    throw error
  } finally {
    isOver = true
    clearInterval(timer)
  }
}

async function askDocker(
  image: string,
  words: readonly string[],
  user: DockerUser,
  signal: AbortSignal,
  file?: ProgramFile,
): Promise<string> {
  const env = Object.fromEntries(Object.entries(user.env).filter(([name]) => ENVIRONMENT.test(name)))
  const { status, stdout, stderr } = await runAsUser(['docker', ...words], user, env, signal, file)
  if (signal.aborted) throw new BerthError('BERTH_ECANCELED', { image })
  if (status !== 0) throw failure(image, `ended with ${status}${lastLines(stderr)}`)
  return stdout
}

function failure(image: string, problem: string): BerthError {
  return new BerthError('BERTH_EDOCKERD', { image, problem })
}
