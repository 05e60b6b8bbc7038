// SPDX-License-Identifier: Apache-2.0
/** Layers that an image in the store lends to a new one: what is fetched, for whom, and what happens when it fails. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, cpSync, openSync, readdirSync, writeSync } from 'node:fs'
import { request as ask } from 'node:http'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { StoredImage } from '../../../src/image/image.js'
import type { Native } from '../../../src/native.js'
import type { Access, ImportProgress, Store, StoreOptions } from '../../../src/store/store.js'
import { writeLayout } from '../../cluster/layout.js'
import { makeTar } from '../../cluster/tar.js'
import { failure } from '../../failure.js'
import { admitting, FakeRegistry, type RealRegistry, sha256, startRegistry } from '../../registry.js'
import { suite } from '../../suite.js'
import { ALICE, BOB, importers, Lab, listImage, missing, pull } from './fixture.js'

const test = suite('store: reuse')
const needed = missing()
const ROOT: Access = { ...ALICE, uid: 0, gid: 0 }
const BASE = makeTar([
  { name: 'etc', type: '5' },
  { name: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\n' },
  { name: 'etc/old', content: 'gone' },
  { name: 'library', content: randomBytes(700_000) },
])
const TOP = makeTar([
  { name: 'etc/.wh.old', content: '' },
  { name: 'app', content: 'top' },
])
const TREE = { app: 'top', etc: '/', 'etc/passwd': 'root:x:0:0::/root:/bin/sh\n', library: 'library' }

const labs: Lab[] = []
const registries: FakeRegistry[] = []

interface Place {
  lab: Lab
  store: Store
  fake: FakeRegistry
  log: string[]
  /** Layers that were asked for since the last call: GET only. */
  fetched: () => string[]
}

async function place(options: Partial<StoreOptions> = {}): Promise<Place> {
  const lab = new Lab()
  const log: string[] = []
  const store = await lab.open({ log: (line) => log.push(line), ...options })
  const fake = await FakeRegistry.start()
  labs.push(lab)
  registries.push(fake)
  fake.putImage([BASE], { tag: 'base' })
  fake.putImage([BASE, TOP], { tag: 'app' })
  const names = new Map([
    [sha256(BASE), 'base'],
    [sha256(TOP), 'top'],
  ])
  const fetched = () =>
    fake.asked.splice(0).flatMap(({ method, url }) => {
      const name = names.get(url.replace(/.*\//, ''))
      return method !== 'GET' || name === undefined ? [] : [name]
    })
  return { lab, store, fake, log, fetched }
}

function listed(image: StoredImage): Record<string, string> {
  const { library, ...rest } = listImage(image.path)
  return { ...rest, library: library?.length === 100 ? 'library' : 'damaged' }
}

test.after(async () => {
  for (const lab of labs) {
    assert.equal(lab.leftovers(), [])
    await lab.close()
  }
  for (const fake of registries) await fake.stop()
  if (needed === undefined) assert.equal(importers(), [])
})

/** Behind which a real registry answers, so that what it is asked for can be counted. */
async function counted(real: RealRegistry): Promise<FakeRegistry> {
  const front = await FakeRegistry.start()
  registries.push(front)
  const [hostname, port] = real.host.split(':')
  front.before.push((request, response) => {
    const { method, url, headers } = request
    const behind = ask({ hostname, port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    request.pipe(behind)
    return true
  })
  return front
}

test.needs(needed, 'of a real registry only the layer on top of a stored image is fetched', async () => {
  const { lab, store } = await place()
  const real = await startRegistry()
  const front = await counted(real)
  try {
    for (const [name, layers] of [
      ['base', [BASE]],
      ['app', [BASE, TOP]],
    ] as const) {
      const layout = join(lab.publicFolder('layouts'), name)
      writeLayout(layout, { layers, env: [`NAME=${name}`] })
      const to = `docker://${real.host}/${name}:1`
      execFileSync('skopeo', ['copy', '-q', '--dest-tls-verify=false', `oci:${layout}`, to])
    }
    const base = await pull(store, `${front.host}/base:1`)
    front.asked.splice(0)
    const seen: ImportProgress[] = []
    const app = await pull(store, `${front.host}/app:1`, ALICE, { progress: (step) => seen.push(step) })
    const blobs = front.asked.flatMap(({ method, url }) =>
      method === 'GET' && url.includes('/blobs/') ? [url.replace(/.*\//, '')] : [],
    )
    assert.equal(app.layers[0], base.layers[0])
    assert.not(blobs.includes(base.layers[0]?.digest ?? ''), 'the base was fetched again')
    assert.is(blobs.length, 2, 'config and top layer')
    assert.equal(listed(app), TREE)
    assert.equal(app.config.env, ['NAME=app'])
    assert.is(app.passwd, 'root:x:0:0::/root:/bin/sh\n')
    const told = seen.filter(({ phase }) => phase === 'importing').at(-1)
    assert.is(told?.reused, base.layers[0]?.size)
    assert.is(told?.total, app.layers[1]?.size)
    assert.is(store.inventory.list().find(({ key }) => key === app.key)?.reused, base.layers[0]?.size)
    front.asked.splice(0)
    assert.is((await pull(store, `${front.host}/app@${app.digest}`)).key, app.key, 'found by its digest')
    assert.equal(front.asked, [])
  } finally {
    await real.stop()
  }
})

test.needs(needed, 'by default the images of others lend nothing, those of root do', async () => {
  const byBob = await place()
  await pull(byBob.store, `${byBob.fake.host}/x:base`, BOB)
  assert.equal(byBob.fetched(), ['base'])
  const whole = await pull(byBob.store, `${byBob.fake.host}/x:app`)
  assert.equal(byBob.fetched(), ['top', 'base'])
  assert.match(whole.key, /-f2-root$/)
  const byRoot = await place()
  await pull(byRoot.store, `${byRoot.fake.host}/x:base`, ROOT)
  byRoot.fetched()
  const app = await pull(byRoot.store, `${byRoot.fake.host}/x:app`)
  assert.equal(byRoot.fetched(), ['top'])
  assert.match(app.key, /-r2-root$/)
  assert.equal(listed(app), TREE)
  // What ALICE's importer made of root's image is ALICE's word.
  byRoot.fake.putImage([BASE, TOP, makeTar([{ name: 'more', content: 'm' }])], { tag: 'more' })
  await byRoot.store.inventory.remove(`${byRoot.fake.host}/x:base`)
  await pull(byRoot.store, `${byRoot.fake.host}/x:more`, BOB)
  assert.equal(byRoot.fetched().sort(), ['base', 'top'])
})

test.needs(needed, 'the site may let all lend, or none', async () => {
  for (const [reuse, expected] of [
    ['all', ['top']],
    ['off', ['top', 'base']],
  ] as const) {
    const { store, fake, fetched } = await place({ reuse })
    await pull(store, `${fake.host}/x:base`, BOB)
    fetched()
    assert.equal(listed(await pull(store, `${fake.host}/x:app`)), TREE)
    assert.equal(fetched(), expected, reuse)
  }
})

test.needs(needed, 'a manifest that names a private layer gets it only from who may give it', async () => {
  const { lab, store, fake, fetched } = await place({ reuse: 'all' })
  fake.before.push(admitting('alice', 'secret'))
  const alice = lab.withLogin(ALICE, fake.host, 'alice', 'secret')
  await pull(store, `${fake.host}/x:base`, alice)
  fetched()
  // Another registry says that it has the layer, and has only its name.
  const other = await FakeRegistry.start()
  registries.push(other)
  other.putImage([BASE, TOP], { tag: 'app' })
  other.before.push(({ method, url }, response) => {
    if (!url?.includes(sha256(BASE))) return false
    response.writeHead(method === 'HEAD' ? 200 : 404, { 'content-length': BASE.length }).end()
    return true
  })
  for (const user of [BOB, alice]) {
    const error = await failure(pull(store, `${other.host}/x:app`, user))
    assert.is(error.code, 'BERTH_ELAYER')
  }
  const layout = join(lab.publicFolder('layouts'), 'naming')
  writeLayout(layout, { layers: [BASE, TOP], compression: 'none' })
  execFileSync('rm', [join(layout, 'blobs/sha256', sha256(BASE).slice(7))])
  assert.is((await failure(pull(store, `oci:${layout}`, BOB))).code, 'BERTH_EIMAGEFILE')
  // The registry itself is asked for each layer that is not everybody's.
  const app = await pull(store, `${fake.host}/y:app`, alice)
  assert.ok(fake.asked.some(({ method, url }) => method === 'HEAD' && url.endsWith(sha256(BASE))))
  assert.equal(fetched(), ['top'])
  assert.not(store.inventory.list(BOB.uid).some(({ key }) => key === app.key))
  // It says no: the layer has to come from there.
  fake.putImage([BASE, makeTar([{ name: 'z', content: 'z' }])], { tag: 'z' })
  fake.before.push(({ method, url }, response) => {
    if (method !== 'HEAD' || !url?.endsWith(sha256(BASE))) return false
    response.writeHead(404).end()
    return true
  })
  await pull(store, `${fake.host}/z:z`, alice)
  assert.equal(fetched(), ['base'])
})

test.needs(
  needed,
  'a damaged image lends nothing: all layers are fetched, and the log says why',
  async () => {
    const { store, fake, log, fetched } = await place()
    const base = await pull(store, `${fake.host}/x:base`)
    const damage = (at: number, size: number) => {
      const fd = openSync(base.path, 'r+')
      writeSync(fd, Buffer.alloc(size, 0xa5), 0, size, at)
      closeSync(fd)
    }
    // First the entries, then also the footer of the index.
    damage(base.size - 4096, 200)
    fetched()
    const app = await pull(store, `${fake.host}/x:app`)
    assert.equal(listed(app), TREE)
    assert.equal(fetched().sort(), ['base', 'top'])
    assert.match(app.key, /-f2-root$/)
    assert.match(log.join('\n'), /^stored images could not lend layers to sha256:[0-9a-f]{64}: \S/)
    await store.inventory.remove(app.key)
    damage(base.size - 64, 64)
    assert.equal(listed(await pull(store, `${fake.host}/x:app`)), TREE)
    assert.is(log.length, 2)
    assert.ok(!log.join().includes('undefined'))
  },
)

test.needs(needed, 'a base is kept while it lends, canceled or not', async () => {
  const { lab, store, fake, fetched } = await place()
  const base = await pull(store, `${fake.host}/x:base`)
  const stop = new AbortController()
  fake.before.push((request, response) => {
    if (!request.url?.endsWith(sha256(TOP))) return false
    response.writeHead(200, { 'content-length': TOP.length })
    response.write(TOP.subarray(0, 100))
    stop.abort()
    return true
  })
  const canceled = await failure(pull(store, `${fake.host}/x:app`, ALICE, { signal: stop.signal }))
  assert.is(canceled.code, 'BERTH_ECANCELED')
  assert.equal(lab.leftovers(), [])
  assert.is(importers().length, 0)
  const open = execFileSync('sh', ['-c', `ls -l /proc/${process.pid}/fd | grep -c '${base.path}' || :`])
  assert.is(Number(open), 0, 'the base is still open')
  fake.before.pop()
  fetched()
  assert.equal(listed(await pull(store, `${fake.host}/x:app`)), TREE)
  assert.equal(fetched(), ['top'])
})

test.needs(
  needed,
  'a worker that dies as soon as an image has its record leaves no reason to import it again',
  async () => {
    const { lab, store, fake, fetched } = await place()
    fake.before.push(admitting('alice', 'secret'))
    const alice = lab.withLogin(ALICE, fake.host, 'alice', 'secret')
    await pull(store, `${fake.host}/x:base`, alice)
    const images = join(lab.directory, 'images')
    const left = join(lab.folder, 'left')
    const closeFd: Native['closeFd'] = (fd) => {
      lab.native.closeFd(fd)
      if (readdirSync(images).some((name) => name.endsWith('-r2-root.json')))
        cpSync(lab.directory, left, { recursive: true, preserveTimestamps: true, force: false })
    }
    const dying = await lab.open({ native: { ...lab.native, closeFd } })
    const app = await pull(dying, `${fake.host}/x:app`, alice)
    fetched()
    const next = await lab.open({ directory: left })
    assert.is((await pull(next, `${fake.host}/x:app`, alice)).key, app.key)
    assert.equal(fetched(), [])
    assert.is(next.inventory.list().length, 2, 'base and app, once each')
  },
)

test.run()
