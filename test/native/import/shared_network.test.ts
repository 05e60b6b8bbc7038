// SPDX-License-Identifier: Apache-2.0
/** The shared store on a network file system: each node has a mount with caches of its own, and no lock of the server's. */
import { deepEqual, equal, ok } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Native } from '../../../src/native.js'
import { Sharer } from '../../../src/store/shared/sharer.js'
import type { Turn } from '../../../src/store/shared/wire.js'
import type { ImportProgress, Store } from '../../../src/store/store.js'
import { makeTar } from '../../cluster/tar.js'
import { failure } from '../../failure.js'
import { FakeRegistry, sha256 } from '../../registry.js'
import { suite } from '../../suite.js'
import { missingForNetwork, NetworkMount } from '../network_mount.js'
import { ALICE, children, DIST, Lab, missing, pull, stall, until } from './fixture.js'

const test = suite('store: shared on a network file system')
const needed = missing() ?? missingForNetwork()
const LAYER = makeTar([{ name: 'noise', content: randomBytes(3_000_000) }])
/** A dead node is believed dead after this; twenty seconds in earnest. sshfs believes its own memory for as long. */
const STALE_MS = 3000
/** Two nodes hit the same moment in some of them. */
const RACES = 15
const DAY_S = 86_400
/** A minute at most in earnest. */
const PATIENCE = { answer_ms: 2000, stall_ms: 500, rest_ms: 1 }
/** For the first answers, which take the start of a process. */
const START_MS_MAX = 60_000
/** The kernel looks again after one second, sshfs after twenty unless a file is opened. */
const SEEN_MS_MAX = 10_000

let lab: Lab
let registry: FakeRegistry
const mounts: NetworkMount[] = []
const sharers: Sharer[] = []

test.before(async () => {
  if (needed !== undefined) return
  lab = new Lab()
  registry = await FakeRegistry.start()
  registry.putImage([LAYER])
})

test.after(async () => {
  if (needed !== undefined) return
  await registry.stop()
  await lab.closeStores()
  for (const sharer of sharers) sharer.leave()
  await until('the end of all processes', () => children('sharer.js').length === 0)
  for (const mount of mounts) await mount.stop()
  await lab.close()
})

interface Node {
  store: Store
  log: string[]
  mount: NetworkMount
  /** Its server; and its patience gets short. */
  hang(): void
  goOn(): void
}

/** What the server has, and mounts of it. */
class Exported {
  private static count = 0
  readonly path = lab.publicFolder(`exported-${++Exported.count}`)

  async mount(...options: string[]): Promise<NetworkMount> {
    const mount = await NetworkMount.start(this.path, join(lab.folder, `mount-${mounts.length}`), ...options)
    mounts.push(mount)
    return mount
  }

  /** @param hasty once its server is to hang it has less patience than others, and what is other in its addon */
  async node(name: string, hasty?: (mount: NetworkMount) => Partial<Native>): Promise<Node> {
    const log: string[] = []
    const mount = await this.mount()
    const patience = { ...PATIENCE, answer_ms: START_MS_MAX }
    const shared = {
      ...{ directory: mount.path, node: name, uid: 0, gid: 0, stale_ms: STALE_MS },
      ...{ use: 'copy' as const, copySize: 0 },
      ...(hasty === undefined ? {} : { patience }),
    }
    const native = { ...lab.native, ...hasty?.(mount) }
    const directory = `${mount.path}.store`
    const store = await lab.open({ directory, shared, native, log: (line) => void log.push(line) })
    const hang = () => {
      patience.answer_ms = PATIENCE.answer_ms
      mount.hang()
    }
    const goOn = () => {
      patience.answer_ms = START_MS_MAX
      mount.goOn()
    }
    return { store, log, mount, hang, goOn }
  }

  async sharer(name: string, ...options: string[]): Promise<Sharer> {
    const { path } = await this.mount(...options)
    const settings = { directory: path, uid: 0, node: name, stale_ms: STALE_MS }
    const sharer = new Sharer(lab.native, DIST, settings, { uid: 0, gid: 0 })
    sharers.push(sharer)
    await sharer.ask('check', {})
    return sharer
  }

  names(folder: string): string[] {
    const path = join(this.path, folder)
    return existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : []
  }
}

const image = () => `${registry.host}/lab/noise`
const layerGets = () =>
  registry.asked.filter(({ method, url }) => method === 'GET' && url.includes(sha256(LAYER))).length

async function published(on: Exported): Promise<string> {
  await until('the publication', () => on.names('images').length === 2 && on.names('leases').length === 0)
  return on.names('images').find((name) => name.endsWith('.sqsh')) ?? ''
}

for (const [kind, ...options] of [['hard links'], ['no hard links', 'disable_hardlink']] as const)
  test.needs(needed, `of two nodes that want an image at the same moment one gets it (${kind})`, async () => {
    const exported = new Exported()
    const both = [await exported.sharer('one', ...options), await exported.sharer('two', ...options)]
    const seen: Turn['state'][][] = []
    for (let race = 0; race < RACES; race++) {
      const order = { key: `sha256-${race}`, place: 'x' }
      const turns = await Promise.all(both.map((sharer) => sharer.ask('acquire', order)))
      seen.push(turns.map(({ answer }) => answer.state).sort())
    }
    deepEqual(
      seen,
      Array.from({ length: RACES }, () => ['busy', 'mine']),
    )
  })

test.needs(needed, 'who lives is waited for, however long; who died is replaced by exactly one', async () => {
  const exported = new Exported()
  const [one, two, three] = [
    await exported.node('one'),
    await exported.node('two'),
    await exported.node('three'),
  ]
  const before = layerGets()
  const go = stall(registry, LAYER)
  const stop = new AbortController()
  const lost = failure(pull(one.store, image(), ALICE, { signal: stop.signal }))
  await until('half of the layer', () => layerGets() - before === 1 && exported.names('leases').length === 1)
  const seen: ImportProgress[] = []
  const began = performance.now()
  const others = [two, three].map(({ store }) =>
    pull(store, image(), ALICE, { progress: (step) => seen.push(step) }),
  )
  await until('news of that node', () => seen.some(({ node, done }) => node === 'one' && done > 0))
  await until('several times the patience', () => performance.now() - began > 3 * STALE_MS)
  equal(layerGets() - before, 1)
  for (const pid of children('sharer.js', '"node":"one"')) process.kill(pid, 'SIGKILL')
  await until('another import', () => layerGets() - before === 2)
  stop.abort()
  await lost
  go()
  const images = await Promise.all(others)
  equal(layerGets() - before, 2)
  const bytes = readFileSync(await published(exported))
  for (const { path } of images) ok(readFileSync(path).equals(bytes))
})

test.needs(needed, 'a lease that says nothing holds up nobody for long, an old one not at all', async () => {
  const exported = new Exported()
  const one = await exported.sharer('one')
  const order = { key: 'sha256-0', place: 'x' }
  equal((await one.ask('acquire', order)).answer.state, 'mine')
  const [lease = ''] = exported.names('leases')
  const text = readFileSync(lease, 'utf8').replaceAll('one', 'two')
  one.leave()
  await until('its end', () => exported.names('leases').length === 0)
  const three = await exported.sharer('three')
  const state = async () => (await three.ask('acquire', order)).answer.state
  writeFileSync(lease, '')
  equal(await state(), 'busy')
  await until('its turn', async () => (await state()) === 'mine')
  await three.ask('release', order)
  writeFileSync(lease, text)
  utimesSync(lease, Date.now() / 1000 - DAY_S, Date.now() / 1000 - DAY_S)
  equal(await state(), 'mine')
})

/** Processes of this one that were killed, but for a thread that waits for a server; nothing tells their names. */
function waiting(): number {
  const pids = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ')
  return pids.filter((pid) => {
    try {
      return (
        readFileSync(`/proc/${pid}/cmdline`, 'utf8') === '' && readdirSync(`/proc/${pid}/task`).length > 1
      )
    } catch {
      return false
    }
  }).length
}

test.needs(
  needed,
  'a server that answers nothing more is given up, and one process waits for it',
  async () => {
    const on = new Exported()
    const { store, log, hang, goOn } = await on.node('waits', () => ({}))
    const { key } = await pull(store, image())
    await published(on)
    const before = layerGets()
    for (const [tries, why] of ['did not answer within 2 s', 'still waits for an answer'].entries()) {
      await store.inventory.remove(key)
      hang()
      equal((await pull(store, image())).key, key)
      equal(layerGets(), before + tries + 1)
      ok(log.join().includes(why), log.join('\n'))
      equal(waiting(), 1)
      equal(children('sharer.js', '"node":"waits"').length, 0)
    }
    goOn()
    await until('its end', () => waiting() === 0)
    await until('its use', async () => {
      const gets = layerGets()
      await store.inventory.remove(key)
      await pull(store, image())
      return layerGets() === gets
    })
    // In the middle of a copy.
    const late = await on.node('late', (mounted) => ({
      openTemporary(directory) {
        mounted.hang()
        return lab.native.openTemporary(directory)
      },
    }))
    const gets = layerGets()
    equal((await pull(late.store, image())).key, key)
    equal(layerGets(), gets + 1)
    ok(late.log.join().includes('did not answer within 0.5 s'), late.log.join('\n'))
    late.mount.goOn()
  },
)

test.needs(needed, 'what another node replaces is seen as it is now', async () => {
  const exported = new Exported()
  const [one, two] = [await exported.sharer('one'), await exported.sharer('two')]
  const path = join(lab.folder, 'source')
  writeFileSync(path, LAYER)
  const source = openSync(path, 'r')
  const key = 'sha256-0'
  const publish = (place: string) => {
    const record = { size: LAYER.length, places: [place] }
    return one.ask('publish', { key, place, record }, { fd: source, isLong: true })
  }
  const seen = async () => {
    const { answer, fd } = await two.ask('find', { key })
    if (fd !== undefined) closeSync(fd)
    return answer.record?.places
  }
  await publish('a.example')
  deepEqual(await seen(), ['a.example'])
  // A longer record than the one whose size node two remembers.
  await publish('b.example')
  deepEqual(await seen(), ['a.example', 'b.example'])
  const file = join(exported.path, 'images', `${key}.sqsh`)
  writeFileSync(file, LAYER.subarray(0, 5000))
  await until('the half file', async () => (await seen()) === undefined)
  writeFileSync(file, LAYER)
  const began = performance.now()
  await until('the whole file', async () => (await seen()) !== undefined)
  ok(performance.now() - began < SEEN_MS_MAX)
  closeSync(source)
})

test.run()
