// SPDX-License-Identifier: Apache-2.0
/** CALL: what the command line asks of the worker, by name; each answer is JSON. */
import type { StoredImage } from '../image/image.js'
import { BerthError } from '../report/errors.js'
import { formatBytes } from '../report/progress.js'
import type { Connection } from './connection.js'
import { factsOfPeer } from './facts.js'
import { type Frame, Tag, Type } from './frame.js'
import { handoutsOf } from './handouts.js'
import { loginOver } from './login.js'
import { listNamed, removeNamed } from './named.js'
import { workerPlace } from './place.js'
import { lineProgress } from './progress.js'
import { listSteps, workerStatus } from './status.js'
import type { Worker } from './worker.js'

/** No process can have it (setresuid(2) takes it for "unchanged"): sees what everybody may. */
const NOBODY = 0xffffffff

interface Call {
  worker: Worker
  connection: Connection
  frame: Frame
  words: string[]
  signal: AbortSignal
}

interface Row {
  rootOnly: boolean
  run(call: Call): unknown
}

const CALLS: Readonly<Record<string, Row>> = {
  status: { rootOnly: false, run: ({ worker }) => workerStatus(worker) },
  ps: { rootOnly: false, run: ({ worker, connection }) => listSteps(worker, connection.peer.uid) },
  engines: { rootOnly: false, run: ({ worker }) => worker.story.engines() },
  containers: { rootOnly: false, run: ({ worker, connection }) => listNamed(worker, connection.peer.uid) },
  'containers-rm': {
    rootOnly: false,
    run: ({ worker, connection, words: [force = '', ...names] }) =>
      removeNamed(worker, connection.peer.uid, names, force === 'force'),
  },
  'containers-create': { rootOnly: false, run: create },
  pull: { rootOnly: false, run: pull },
  explain: { rootOnly: false, run: explain },
  'importer-get': { rootOnly: false, run: importerGet },
  'importer-release': {
    rootOnly: false,
    run: ({ worker, connection, words: [job = '', step = ''] }) =>
      handoutsOf(worker).release({ uid: connection.peer.uid, job, step }),
  },
  images: {
    rootOnly: false,
    run: ({ worker, connection }) => worker.rooms.store.inventory.list(connection.peer.uid),
  },
  'images-shared': { rootOnly: true, run: ({ worker }) => worker.rooms.store.common().list() },
  pin: { rootOnly: true, run: ({ worker, words }) => worker.rooms.store.inventory.pin(words, true) },
  unpin: { rootOnly: true, run: ({ worker, words }) => worker.rooms.store.inventory.pin(words, false) },
  scrub: { rootOnly: true, run: scrub },
  rm: { rootOnly: true, run: ({ worker, words }) => worker.rooms.store.inventory.remove(words) },
  gc: {
    rootOnly: true,
    run: async ({ worker, words }) => {
      const { inventory } = worker.rooms.store
      const containers = await inventory.countContainers()
      return { containers, ...(await inventory.collect({ all: words.includes('all') })) }
    },
  },
  'gc-shared': {
    rootOnly: true,
    run: ({ worker, words: [unused_s = ''] }) => worker.rooms.store.common().collect(Number(unused_s)),
  },
}

export async function call(worker: Worker, connection: Connection, frame: Frame): Promise<void> {
  const name = frame.text(Tag.NAME) ?? ''
  const row = Object.hasOwn(CALLS, name) ? CALLS[name] : undefined
  if (row === undefined) throw new BerthError('BERTH_ECALL', { name })
  if (row.rootOnly && connection.peer.uid !== 0)
    throw new BerthError('BERTH_EROOT', { what: `berth ${name}`, uid: connection.peer.uid })
  const gone = new AbortController()
  connection.onClosed(() => gone.abort())
  const data = await row.run({ worker, connection, frame, words: frame.texts(Tag.ARG), signal: gone.signal })
  connection.send(Type.RESULT, [[Tag.DATA, JSON.stringify(data ?? null)]])
  connection.end()
}

async function pull(call: Call): Promise<unknown> {
  const [reference = ''] = call.words
  const { digest, key, size, config } = await importNow(call, reference)
  return { reference, digest, key, size, config }
}

/** The user's own credentials, the user's own rights on local files; the result is the node's. */
async function importNow({ worker, connection, frame, signal }: Call, image: string): Promise<StoredImage> {
  const facts = { ...factsOfPeer(connection.peer, frame, 'run'), options: [`container-image=${image}`] }
  const progress = lineProgress(connection, frame.number(Tag.TTY) ?? 0)
  const stored = await worker.errands.take(facts.uid, signal, () =>
    worker.story.pull(facts, { signal, progress, login: loginOver(connection) }),
  )
  if (stored === undefined)
    throw new BerthError('BERTH_EIMAGEREF', { reference: image, problem: 'names no image' })
  return stored
}

/** Words: shared or own, remove or keep, images. One line before each, as it may take minutes. */
function scrub({ worker, connection, words: [which, what, ...names], signal }: Call): Promise<unknown> {
  const { store } = worker.rooms
  const progress = (image: string, size: number) =>
    connection.send(Type.PROGRESS, [[Tag.TEXT, `berth: checking ${image} (${formatBytes(size)})\n`]])
  const remove = what === 'remove'
  return which === 'shared'
    ? store.inventory.scrubShared(store.common(), remove, { signal, progress })
    : store.inventory.scrub(names, remove, { signal, progress })
}

/** Words: name, image. */
async function create({ worker, connection, frame, words, signal }: Call): Promise<unknown> {
  const [name = '', image = ''] = words
  const options = [`container-name=${name}`, `container-image=${image}`]
  const facts = { ...factsOfPeer(connection.peer, frame, 'run'), options }
  const progress = lineProgress(connection, frame.number(Tag.TTY) ?? 0)
  await worker.errands.take(facts.uid, signal, () =>
    worker.story.makeContainer(facts, { signal, progress, login: loginOver(connection) }),
  )
  return { name }
}

/** As pull, and the result where the user can read it: a program beside berth wants the file (pyxis' importer). */
async function importerGet(call: Call): Promise<unknown> {
  const { worker, connection, words, signal } = call
  const [image = '', job = '', step = ''] = words
  const stored = await importNow(call, image)
  const { uid, gid, pid } = connection.peer
  const open = worker.rooms.store.inventory.list(NOBODY).some(({ key }) => key === stored.key)
  const uri = /^\w+:\/\//.test(image) ? image : `docker://${image}`
  const write = (out: number, empty: number) =>
    worker.errands.take(uid, signal, () =>
      worker.story.copyImage(stored, uri, { user: { uid, gid }, empty, out }, signal),
    )
  const claim = { uid, gid, job, step, pid }
  return { path: await handoutsOf(worker).give({ size: stored.size, open, write }, claim) }
}

async function explain({ worker, connection, frame, signal }: Call): Promise<unknown> {
  const facts = factsOfPeer(connection.peer, frame, 'run')
  const { story } = worker
  const explained = { ...facts, options: [...facts.options, 'container-explain=1'] }
  const undo = story.begin((line) => worker.log(line, { uid: facts.uid }))
  const login = loginOver(connection)
  const text = await worker.errands.take(facts.uid, signal, async () => {
    const prepared = await story.prepare(explained, { signal, undo, progress: () => undefined, login })
    // Devices are those of the process that asks, which may be in a step.
    const place = { ...workerPlace(facts.cwd), pid: connection.peer.pid, environment: frame.environment() }
    return story.explain(prepared, place, login)
  })
  return JSON.parse(text)
}
