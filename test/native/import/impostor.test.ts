// SPDX-License-Identifier: Apache-2.0
/** Images are known by digests: what one user brings in must not stand in the store as an image of somebody else's. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { makeTar, type TarEntry } from '../../cluster/tar.js'
import { failure } from '../../failure.js'
import { admitting, FakeRegistry } from '../../registry.js'
import { suite } from '../../suite.js'
import { ALICE, BOB, Lab, listImage, missing, pull } from './fixture.js'

const test = suite('store: impostors')
const needed = missing()

let lab: Lab
let fake: FakeRegistry
let folder: string

test.before(async () => {
  if (needed !== undefined) return
  lab = new Lab()
  fake = await FakeRegistry.start()
  folder = lab.publicFolder('archives')
})

test.after(async () => {
  if (needed !== undefined) return
  await fake.stop()
  await lab.close()
})

/** A docker-archive whose config is a registry's manifest: of such an image the config's digest is the name. */
function disguise(tag: string, layers: Record<string, Buffer> = {}): string {
  const manifest = fake.manifests.get(tag)?.bytes
  if (manifest === undefined) throw new Error('no manifest')
  const image = { Config: 'config.json', RepoTags: ['me/x:1'], Layers: Object.keys(layers) }
  const entries: TarEntry[] = [
    { name: 'manifest.json', content: JSON.stringify([image]) },
    { name: 'config.json', content: manifest },
    ...Object.entries(layers).map(([name, content]) => ({ name, content })),
  ]
  const path = join(folder, `${tag}.tar`)
  writeFileSync(path, makeTar(entries))
  return path
}

test.needs(
  needed,
  'an archive that claims the digest of a public image does not take its place',
  async () => {
    const store = await lab.open()
    fake.putImage([makeTar([{ name: 'tool', content: 'the real one' }])], { tag: 'public' })
    const error = await failure(pull(store, `docker-archive:${disguise('public')}`, BOB))
    assert.is(error.code, 'BERTH_EMANIFEST')
    const image = await pull(store, `${fake.host}/tools:public`, ALICE)
    assert.equal(listImage(image.path), { tool: 'the real one' })
  },
)

test.needs(needed, 'an archive that claims the digest of a private image opens it to nobody', async () => {
  const store = await lab.open()
  fake.putImage([makeTar([{ name: 'secret', content: 'x' }])], { tag: 'private' })
  fake.before.push(admitting('alice', 'secret'))
  const alice = lab.withLogin(ALICE, fake.host, 'alice', 'secret')
  const name = `${fake.host}/mine:private`
  const { key } = await pull(store, name, alice)
  assert.is((await failure(pull(store, name, BOB))).code, 'BERTH_EAUTH')
  const stolen = await pull(store, `docker-archive:${disguise('private')}`, BOB).catch(() => undefined)
  assert.is(stolen && listImage(stolen.path).secret, undefined)
  assert.not(store.inventory.list(BOB.uid).some((image) => image.key === key))
  fake.before.pop()
})

test.run()
