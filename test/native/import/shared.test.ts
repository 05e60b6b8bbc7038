// SPDX-License-Identifier: Apache-2.0
/** Several nodes with a shared store: each a store of its own, with its own processes, on one machine. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { messageOf } from '../../../src/report/errors.js'
import { SharedFiles } from '../../../src/store/shared/files.js'
import type { SharedOptions } from '../../../src/store/shared/shared.js'
import { Sharer } from '../../../src/store/shared/sharer.js'
import type { ImportProgress, Store } from '../../../src/store/store.js'
import { makeTar } from '../../cluster/tar.js'
import { failure } from '../../failure.js'
import { admitting, FakeRegistry, sha256 } from '../../registry.js'
import { suite } from '../../suite.js'
import {
  ALICE,
  BOB,
  children,
  DIST,
  Lab,
  listImage,
  loopDevices,
  missing,
  pull,
  stall,
  until,
} from './fixture.js'

const test = suite('store: shared')
const needed = missing()
const BIG = makeTar([{ name: 'noise', content: randomBytes(3_000_000) }])
const ACCOUNT = { uid: 20_100, gid: 20_100 }
/** A dead node is believed dead after this; twenty seconds in earnest. */
const STALE_MS = 3000
/** An order takes about as long; at these moments of it the worker is gone. */
const HANG_UP_MS_MAX = 3
const HANG_UP_STEP_MS = 0.2

let lab: Lab
let fake: FakeRegistry
let count = 0

test.before(async () => {
  if (needed !== undefined) return
  lab = new Lab()
  fake = await FakeRegistry.start()
  fake.putImage([BIG])
})

test.after(async () => {
  if (needed !== undefined) return
  await fake.stop()
  await lab.close()
  await until('the end of all processes', () => children('sharer.js').length === 0)
})

const name = () => `${fake.host}/lab/noise`

interface Cluster {
  directory: string
  key(): string
  /** Names of files of those who import. */
  leases(): string[]
  file(name: string): string
  node(name: string, more?: Partial<SharedOptions>): Promise<Node>
}

interface Node {
  store: Store
  directory: string
  log: string[]
}

function cluster(directory = lab.publicFolder(`shared-${++count}`)): Cluster {
  const number = count
  const images = join(directory, 'images')
  const list = (folder: string) =>
    existsSync(join(directory, folder)) ? readdirSync(join(directory, folder)) : []
  const key = () =>
    list('images')
      .find((name) => name.endsWith('.sqsh'))
      ?.slice(0, -5) ?? ''
  return {
    directory,
    key,
    leases: () => list('leases'),
    file: (name) => join(images, name),
    async node(node, more = {}) {
      const own = join(lab.folder, `${node}-${number}`)
      const log: string[] = []
      const tell = (line: string) => {
        log.push(line)
      }
      const shared = {
        directory,
        node,
        uid: 0,
        gid: 0,
        stale_ms: STALE_MS,
        use: 'copy' as const,
        copySize: 0,
        ...more,
      }
      const store = await lab.open({
        directory: own,
        shared,
        log: tell,
      })
      return { store, directory: own, log }
    },
  }
}

/** Times that registries were asked for the layer. */
function layerGets(): number {
  return fake.asked.filter(({ method, url }) => method === 'GET' && url.includes(sha256(BIG))).length
}

function published(shared: Cluster): Promise<void> {
  return until(
    'the publication',
    () => shared.key() !== '' && existsSync(shared.file(`${shared.key()}.json`)),
  )
}

test.needs(needed, 'one conversion for all: others wait and say for whom, then copy or mount', async () => {
  const shared = cluster()
  const [one, two, three] = [
    await shared.node('one'),
    await shared.node('two'),
    await shared.node('three', { use: 'mount' }),
  ]
  const before = layerGets()
  const go = stall(fake, BIG)
  const first = pull(one.store, name())
  await until('a lease', () => shared.leases().length === 1)
  const seen: ImportProgress[] = []
  const second = pull(two.store, name(), BOB, { progress: (step) => seen.push(step) })
  const third = pull(three.store, name())
  await until('news of the other node', () => seen.some(({ node, done }) => node === 'one' && done > 0))
  go()
  const images = await Promise.all([first, second, third])
  assert.is(layerGets() - before, 1)
  assert.ok(seen.some(({ phase, done, total }) => phase === 'importing' && done > 0 && total > 0))
  const [bytes, copy] = images.map(({ path }) => readFileSync(path))
  assert.ok(bytes?.equals(copy ?? Buffer.alloc(0)))
  assert.ok(images[1].path.startsWith(two.directory))
  assert.ok(images[2].path.startsWith(shared.directory))
  assert.equal(readdirSync(join(three.directory, 'images')), [`${shared.key()}.json`])
  const { mode, uid } = statSync(images[2].path)
  assert.equal([mode & 0o777, uid], [0o600, 0])
  const lease = await three.store.hold(images[2])
  assert.equal(
    loopDevices(lab).map((name) => `/dev/${name}`),
    [lease.device],
  )
  lease.release()
  await until('no leases', () => shared.leases().length === 0)
  assert.equal(readdirSync(join(shared.directory, 'tmp')), [])
  const json = JSON.parse(readFileSync(shared.file(`${shared.key()}.json`), 'utf8'))
  assert.equal([json.open, json.places, json.references.length], [true, [`${fake.host}/lab/noise`], 1])
  // What a node mounts from there it knows again after a restart, and forgets when it is gone.
  await three.store.close()
  const again = await shared.node('three', { use: 'mount' })
  assert.is((await pull(again.store, `${name()}@${images[2].digest}`)).path, images[2].path)
  await one.store.common().remove([shared.key()])
  assert.is((await pull(again.store, name())).size, images[2].size)
  assert.is(layerGets() - before, 2)
})

test.needs(needed, 'a node that dies in the middle is replaced by exactly one other', async () => {
  const shared = cluster()
  const nodes = [await shared.node('dead'), await shared.node('two'), await shared.node('three')]
  const [dead, ...living] = nodes
  const before = layerGets()
  const go = stall(fake, BIG)
  const stop = new AbortController()
  const lost = failure(pull(dead?.store as Store, name(), ALICE, { signal: stop.signal }))
  await until('a lease', () => shared.leases().length === 1)
  await until('half of the layer', () => layerGets() - before === 1)
  for (const pid of children('sharer.js', '"node":"dead"')) process.kill(pid, 'SIGKILL')
  const others = living.map(({ store }) => pull(store, name()))
  await until('another import', () => layerGets() - before === 2)
  stop.abort()
  await lost
  go()
  await Promise.all(others)
  assert.is(layerGets() - before, 2)
})

test.needs(needed, 'a worker that ends gives its lease back at once', async () => {
  const shared = cluster()
  const never = { stale_ms: 600_000 }
  const [one, two] = [await shared.node('one', never), await shared.node('two', never)]
  const before = layerGets()
  const go = stall(fake, BIG)
  const lost = failure(pull(one.store, name()))
  await until('half of the layer', () => layerGets() - before === 1)
  const image = pull(two.store, name())
  await one.store.close()
  await until('another import', () => layerGets() - before === 2)
  go()
  assert.equal(Object.keys(listImage((await image).path)), ['noise'])
  await lost
})

test.needs(needed, 'a worker that ends at any moment of an order leaves no half of it there', async () => {
  const { directory } = cluster()
  const settings = { directory, uid: 0, node: 'brief', stale_ms: 600_000 }
  for (let delay_ms = 0; delay_ms < HANG_UP_MS_MAX; delay_ms += HANG_UP_STEP_MS) {
    const sharer = new Sharer(lab.native, DIST, settings, { uid: 0, gid: 0 })
    await sharer.ask('check', {})
    const order = sharer.ask('acquire', { key: 'sha256-0', place: 'x' }).catch(messageOf)
    for (const start = performance.now(); performance.now() - start < delay_ms; );
    sharer.leave()
    await order
    await until('the end of the sharer', () => children('sharer.js', '"node":"brief"').length === 0)
    const left = ['leases', 'tmp'].flatMap((folder) => readdirSync(join(directory, folder)))
    assert.equal(left, [], `after ${delay_ms} ms`)
  }
})

test.needs(needed, 'unfinished files are ignored, damaged ones found at the copy and made anew', async () => {
  const shared = cluster()
  const one = await shared.node('one')
  const image = await pull(one.store, name())
  await published(shared)
  const file = shared.file(`${shared.key()}.sqsh`)
  const whole = readFileSync(file)
  const flipped = Buffer.from(whole)
  flipped.writeUInt8(flipped.readUInt8(1_000_000) ^ 1, 1_000_000)
  writeFileSync(file, flipped)
  const before = layerGets()
  const two = await shared.node('two')
  const copy = await pull(two.store, name())
  assert.ok(readFileSync(copy.path).equals(readFileSync(image.path)))
  assert.is(layerGets() - before, 1)
  assert.match(two.log.join('\n'), /was damaged/)
  await until('a new file', () => existsSync(file) && readFileSync(file).equals(whole))
  await published(shared)
  writeFileSync(file, whole.subarray(0, 5000))
  const three = await shared.node('three')
  assert.is((await pull(three.store, name())).size, image.size)
  assert.is(layerGets() - before, 2)
})

test.needs(
  needed,
  'a directory that is full, read-only, not there or open to others costs a line in the log',
  async () => {
    const folder = lab.publicFolder('tight')
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'tmpfs', folder])
    try {
      const full = await cluster(folder).node('full')
      assert.ok((await pull(full.store, name())).path.startsWith(full.directory))
      await until('a line', () => full.log.length > 0)
      assert.match(full.log.join('\n'), /is not published: no space/)
      assert.equal(readdirSync(join(folder, 'tmp')), [])
      await full.store.close()
      execFileSync('mount', ['-o', 'remount,ro', folder])
      count++
      const readonly = await cluster(folder).node('readonly')
      assert.ok((await pull(readonly.store, name())).path.startsWith(readonly.directory))
      await readonly.store.close()
    } finally {
      execFileSync('umount', ['-l', folder])
    }
    const open = lab.publicFolder('open')
    chmodSync(open, 0o777)
    const foreign = lab.publicFolder('foreign')
    chownSync(foreign, BOB.uid, BOB.gid)
    mkdirSync(join(open, 'below'), { mode: 0o700 })
    const cases: [string, RegExp][] = [
      [open, /open can be written by others.*chmod go-w/],
      [foreign, /foreign belongs to uid 20002.*chown 0/],
      [join(open, 'below'), /open can be written by others/],
      [join(lab.folder, 'nowhere'), /is not there/],
    ]
    for (const [directory, why] of cases) {
      count++
      const node = await cluster(directory).node('node')
      assert.ok((await pull(node.store, name())).path.startsWith(node.directory))
      assert.match(node.log.join('\n'), why)
      assert.is(node.log.length, 1, node.log.join('\n'))
    }
  },
)

test.needs(needed, 'a directory that is full when the record comes keeps no image without one', async () => {
  const folder = lab.publicFolder('brim')
  const [bytes, source] = [8192, join(lab.folder, 'source')]
  writeFileSync(source, Buffer.alloc(bytes, 1))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=700`, 'tmpfs', folder])
  const fd = openSync(source, 'r')
  try {
    for (const name of ['images', 'tmp']) mkdirSync(join(folder, name))
    const publication = new SharedFiles(folder, 0).publish('sha256-1-f2', fd, { size: bytes })
    assert.is(await publication.catch(({ code }: NodeJS.ErrnoException) => code), 'ENOSPC')
    for (const name of ['images', 'tmp']) assert.equal(readdirSync(join(folder, name)), [])
  } finally {
    closeSync(fd)
    execFileSync('umount', [folder])
  }
})

test.needs(needed, 'an account of its own writes where root need not', async () => {
  const directory = lab.publicFolder(`shared-${++count}`)
  chownSync(directory, ACCOUNT.uid, ACCOUNT.gid)
  const shared = cluster(directory)
  const one = await shared.node('one', ACCOUNT)
  await pull(one.store, name())
  await published(shared)
  assert.is(statSync(shared.file(`${shared.key()}.sqsh`)).uid, ACCOUNT.uid)
  const before = layerGets()
  const two = await shared.node('two', ACCOUNT)
  await pull(two.store, name())
  assert.is(layerGets(), before)
  // Somebody else's file of that name is not looked at.
  chownSync(shared.file(`${shared.key()}.sqsh`), BOB.uid, BOB.gid)
  const three = await shared.node('three', ACCOUNT)
  await pull(three.store, name())
  assert.is(layerGets() - before, 1)
})

test.needs(needed, 'a private image is for those whom its registry lets have it', async () => {
  const shared = cluster()
  const secret = await FakeRegistry.start()
  secret.putImage([BIG])
  const secretName = `${secret.host}/lab/noise`
  secret.before.push(admitting('alice', 'pw'))
  const home = lab.publicFolder('home')
  mkdirSync(join(home, '.docker'), { recursive: true })
  const auth = Buffer.from('alice:pw').toString('base64')
  writeFileSync(join(home, '.docker/config.json'), JSON.stringify({ auths: { [secret.host]: { auth } } }))
  chmodSync(join(home, '.docker'), 0o755)
  const alice = { ...ALICE, env: { HOME: home } }
  const one = await shared.node('one')
  await pull(one.store, secretName, alice)
  await published(shared)
  const two = await shared.node('two', { use: 'mount' })
  assert.is((await failure(pull(two.store, secretName, BOB))).code, 'BERTH_EAUTH')
  const asked = secret.asked.length
  const image = await pull(two.store, secretName, alice)
  assert.ok(image.path.startsWith(shared.directory))
  assert.equal(
    secret.asked.slice(asked).filter(({ url }) => url.includes(sha256(BIG))),
    [],
  )
  assert.is((await failure(pull(two.store, secretName, BOB))).code, 'BERTH_EAUTH')
  await secret.stop()
})

test.run()
