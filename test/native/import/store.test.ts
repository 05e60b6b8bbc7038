// SPDX-License-Identifier: Apache-2.0
/** Images from a real registry and from files into the store, as steps of several users ask for them. */
import { execFileSync } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { parseReference } from '../../../src/image/reference.js'
import type { ImportProgress, Store } from '../../../src/store/store.js'
import { writeLayout } from '../../cluster/layout.js'
import { makeTar } from '../../cluster/tar.js'
import { failure } from '../../failure.js'
import {
  admitting,
  FakeRegistry,
  type Handler,
  type RealRegistry,
  sha256,
  startRegistry,
} from '../../registry.js'
import { suite } from '../../suite.js'
import { ALICE, BOB, importers, Lab, listImage, loopDevices, missing, pull, until } from './fixture.js'

const test = suite('store: import')
const needed = missing()
const LOWER = makeTar([
  { name: 'etc', type: '5' },
  { name: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\n' },
  { name: 'etc/old', content: 'gone' },
  { name: 'bin', type: '5' },
  { name: 'bin/tool', content: 'lower', mode: 0o755 },
])
const UPPER = makeTar([
  { name: 'etc/.wh.old', content: '' },
  { name: 'bin/tool', content: 'upper', mode: 0o755 },
  { name: 'link', type: '2', link: 'bin/tool' },
])
const TREE = {
  bin: '/',
  'bin/tool': 'upper',
  etc: '/',
  'etc/passwd': 'root:x:0:0::/root:/bin/sh\n',
  link: '-> bin/tool',
}

let lab: Lab
let store: Store
let registry: RealRegistry
let layout: string
/** The same without compression, which is what skopeo compresses as told. */
let plainLayout: string

function push(name: string, from = layout, ...options: string[]): string {
  const to = `${registry.host}/${name}`
  execFileSync('skopeo', [
    'copy',
    '-q',
    '--dest-tls-verify=false',
    ...options,
    `oci:${from}`,
    `docker://${to}`,
  ])
  return to
}

test.before(async () => {
  if (needed !== undefined) return
  lab = new Lab()
  store = await lab.open()
  registry = await startRegistry()
  layout = join(lab.publicFolder('layouts'), 'image')
  writeLayout(layout, { layers: [LOWER, UPPER], env: ['PATH=/bin', 'A=b'], workdir: '/etc', cmd: ['tool'] })
  plainLayout = join(lab.publicFolder('layouts'), 'plain')
  writeLayout(plainLayout, { layers: [LOWER, UPPER], compression: 'none' })
})

test.after(async () => {
  if (needed !== undefined) return
  await lab.close()
  await registry.stop()
  assert.equal(importers(), [], 'importers that outlive the store')
})

test.needs(needed, 'gzip layers of a real registry become one squashfs with the merged tree', async () => {
  const seen: ImportProgress[] = []
  const image = await pull(store, push('gzip:1'), ALICE, { progress: (step) => seen.push(step) })
  assert.equal(listImage(image.path), TREE)
  assert.equal(image.config.env, ['PATH=/bin', 'A=b'])
  assert.is(image.config.workdir, '/etc')
  assert.is(image.passwd, 'root:x:0:0::/root:/bin/sh\n')
  assert.is(image.layers.length, 2)
  assert.is(statSync(image.path).mode & 0o777, 0o600)
  assert.is(statSync(image.path).uid, 0)
  assert.is(seen[0]?.phase, 'waiting')
  assert.is(seen.at(-1)?.phase, 'finishing')
  assert.equal(lab.leftovers(), [])
})

test.needs(needed, 'zstd and uncompressed layers and Docker manifests give the same bytes', async () => {
  const gzip = await pull(store, push('gzip:1'))
  const zstd = await pull(store, push('zstd:1', plainLayout, '--dest-compress-format=zstd'))
  const docker = await pull(store, push('docker:1', layout, '--format=v2s2'))
  const bytes = readFileSync(gzip.path)
  assert.is.not(zstd.digest, gzip.digest)
  assert.ok(bytes.equals(readFileSync(zstd.path)))
  assert.ok(bytes.equals(readFileSync(docker.path)))
  const fake = await FakeRegistry.start()
  fake.putImage([LOWER, UPPER])
  const plain = await pull(store, `${fake.host}/plain`)
  assert.ok(bytes.equals(readFileSync(plain.path)))
  await fake.stop()
})

test.needs(
  needed,
  'an index leads to this platform; asked by index or by manifest it is one image',
  async () => {
    const fake = await FakeRegistry.start()
    const { digest, size, mediaType } = fake.putImage([gzipSync(LOWER)], {
      diffIds: [digestOf(LOWER)],
      tag: 'single',
    })
    const type = 'application/vnd.oci.image.index.v1+json'
    const entries = ['arm64', process.arch === 'x64' ? 'amd64' : process.arch].map((architecture) => ({
      ...{ mediaType, size, platform: { os: 'linux', architecture } },
      digest: architecture === 'arm64' ? `sha256:${'0'.repeat(64)}` : digest,
    }))
    const index = fake.putManifest({ schemaVersion: 2, mediaType: type, manifests: entries }, type, 'multi')
    const one = await pull(store, `${fake.host}/x:multi`)
    const other = await pull(store, `${fake.host}/x:single`)
    assert.is(one.key, other.key)
    assert.is(one.digest, digest)
    const asked = fake.asked.length
    const pinned = await pull(store, `${fake.host}/x@${index.digest}`, BOB)
    assert.is(pinned.key, one.key)
    assert.is(fake.asked.length, asked, 'a digest that everybody may have needs no network')
    await fake.stop()
  },
)

test.needs(needed, 'looking for an image imports nothing, and finds what is there', async () => {
  const fake = await FakeRegistry.start()
  fake.putImage([makeTar([{ name: 'looked-for', content: 'x' }])])
  const reference = parseReference(`${fake.host}/looked`)
  assert.is(await store.find(reference, ALICE), undefined)
  assert.not.ok(fake.asked.some((line) => JSON.stringify(line).includes('/blobs/')))
  const { key } = await pull(store, `${fake.host}/looked`)
  assert.is((await store.find(reference, ALICE))?.key, key)
  await fake.stop()
})

function digestOf(bytes: Buffer): string {
  return `sha256:${execFileSync('sha256sum', { input: bytes }).toString().slice(0, 64)}`
}

test.needs(needed, 'layouts and archives are read with the rights of the user', async () => {
  const folder = lab.publicFolder('layouts')
  execFileSync('skopeo', ['copy', '-q', `oci:${layout}`, `oci-archive:${folder}/oci.tar:v1`])
  execFileSync('skopeo', ['copy', '-q', `oci:${layout}`, `docker-archive:${folder}/docker.tar:me/x:v1`])
  const inFolder = { ...ALICE, cwd: folder }
  const names = [
    'oci:image',
    `oci:${layout}:latest`,
    'oci-archive:oci.tar',
    'docker-archive:docker.tar:me/x:v1',
  ]
  for (const name of names) {
    const image = await pull(store, name, inFolder)
    assert.equal(listImage(image.path), TREE, name)
    assert.equal(image.config.env, ['PATH=/bin', 'A=b'], name)
  }
  execFileSync('chmod', ['600', `${folder}/oci.tar`])
  const error = await failure(pull(store, 'oci-archive:oci.tar', inFolder))
  assert.is(error.code, 'BERTH_EIMAGEFILE')
  assert.match(error.message, 'you may not read it')
  assert.match((await failure(pull(store, 'oci:nowhere', inFolder))).message, 'no such file')
})

test.needs(
  needed,
  'eight steps that ask for the same cold image import it once, each with its progress',
  async () => {
    const fake = await FakeRegistry.start()
    fake.putImage([makeTar([{ name: 'once', content: 'x'.repeat(100_000) }])])
    const seen = Array.from({ length: 8 }, (): number[] => [])
    const allHaveHeard = () => seen.every(({ length }) => length > 0)
    // The last of the eight, too, finds the import under way.
    fake.before.push((request, response) => {
      const bytes = request.url?.includes('/blobs/')
        ? fake.blobs.get(request.url.replace(/.*\//, ''))
        : undefined
      if (bytes === undefined) return false
      void until('word of it for all', allHaveHeard)
        .catch(() => undefined)
        .then(() => response.writeHead(200).end(bytes))
      return true
    })
    const users = seen.map((_, index) => (index % 2 === 0 ? ALICE : BOB))
    const images = await Promise.all(
      users.map((user, index) =>
        pull(store, `${fake.host}/a`, user, {
          progress: () => seen[index]?.push(1),
        }),
      ),
    )
    assert.is(new Set(images.map(({ key }) => key)).size, 1)
    const blobs = fake.asked.filter(({ url }) => url.includes('/blobs/')).map(({ url }) => url)
    assert.is(blobs.length, new Set(blobs).size)
    assert.is(blobs.length, 2, 'config and layer')
    assert.ok(allHaveHeard())
    await fake.stop()
  },
)

test.needs(needed, 'a private image in the store is only for users whose credentials open it', async () => {
  const fake = await FakeRegistry.start()
  fake.before.push(admitting('alice', 'secret'))
  const { digest } = fake.putImage([makeTar([{ name: 'private', content: 'x' }])])
  const alice = lab.withLogin(ALICE, fake.host, 'alice', 'secret')
  const name = `${fake.host}/private`
  const image = await pull(store, name, alice)
  assert.equal(listImage(image.path), { private: 'x' })
  for (const reference of [name, `${name}@${digest}`]) {
    const error = await failure(pull(store, reference, { ...BOB, env: alice.env }))
    assert.is(error.code, 'BERTH_EAUTH', reference)
    assert.match(error.message, /^failed to import docker image: 127\.0\.0\.1:\d+\/private/)
  }
  assert.ok(store.inventory.list(ALICE.uid).some(({ key }) => key === image.key))
  assert.not(store.inventory.list(BOB.uid).some(({ key }) => key === image.key))
  const stolen = writeLayoutNaming(image.digest)
  await failure(pull(store, `oci:${stolen}`, BOB))
  await fake.stop()
})

test.needs(needed, "another registry's word opens nobody's private image, its layers do", async () => {
  const [fake, other] = [await FakeRegistry.start(), await FakeRegistry.start()]
  fake.before.push(admitting('alice', 'secret'))
  const layer = makeTar([{ name: 'private', content: 'y' }])
  const { digest } = fake.putImage([layer])
  const alice = lab.withLogin(ALICE, fake.host, 'alice', 'secret')
  const image = await pull(store, `${fake.host}/mine`, alice)
  assert.is(image.digest, digest)
  const isSeen = () => store.inventory.list(BOB.uid).some(({ key }) => key === image.key)
  // A registry that claims to have it, without a byte of it.
  const claim: Handler = ({ method }, response) => {
    response.writeHead(method === 'HEAD' ? 200 : 404, { 'docker-content-digest': digest }).end()
    return true
  }
  other.before.push(claim)
  for (const name of ['theirs', `theirs@${digest}`]) {
    await failure(pull(store, `${other.host}/${name}`, BOB))
    assert.not(isSeen(), name)
  }
  // One that knows the manifest, which is no secret, and no layer.
  other.before.pop()
  const [manifest] = [...fake.manifests.values()]
  if (manifest === undefined) throw new Error('no manifest')
  other.manifests.set('latest', manifest).set(digest, manifest)
  for (const [name, bytes] of fake.blobs) if (name !== sha256(layer)) other.blobs.set(name, bytes)
  await failure(pull(store, `${other.host}/theirs`, BOB))
  assert.not(isSeen())
  other.putBlob(layer)
  assert.is((await pull(store, `${other.host}/theirs`, BOB)).key, image.key)
  assert.ok(isSeen())
  await Promise.all([fake.stop(), other.stop()])
})

/** A layout that names a manifest which it does not have. */
function writeLayoutNaming(digest: string): string {
  const path = lab.publicFolder('stolen')
  const manifests = [{ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1 }]
  writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }))
  return path
}

test.needs(needed, 'leases share one loop device; a held image is not removed, an idle one is', async () => {
  const before = loopDevices(lab).length
  const image = await pull(store, push('gzip:1'))
  const [one, two] = await Promise.all([store.hold(image), store.hold(image)])
  assert.match(one.device, /^\/dev\/loop\d+$/)
  assert.is(one.device, two.device)
  assert.is(loopDevices(lab).length, before + 1)
  one.release()
  one.release()
  assert.is((await failure(store.inventory.remove(image.digest))).code, 'BERTH_EINUSE')
  two.release()
  const [removed] = await store.inventory.remove(`${registry.host}/gzip:1`)
  assert.is(removed?.key, image.key)
  assert.is(loopDevices(lab).length, before)
  assert.is((await failure(store.inventory.remove(image.digest))).code, 'BERTH_ENOSUCHIMAGE')
  assert.is((await pull(store, push('gzip:1'))).key, image.key)
})

test.needs(needed, 'after a restart the images are there', async () => {
  const image = await pull(store, push('gzip:1'))
  const again = await lab.open()
  assert.equal(
    again.inventory
      .list()
      .map(({ key }) => key)
      .sort(),
    store.inventory
      .list()
      .map(({ key }) => key)
      .sort(),
  )
  assert.is((await pull(again, push('gzip:1'))).key, image.key)
})

test.run()
