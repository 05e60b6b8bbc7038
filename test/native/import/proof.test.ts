// SPDX-License-Identifier: Apache-2.0
/** How long a registry's answer counts: as long as the site says for a tag, and never longer than it proves a right. */
import * as assert from 'uvu/assert'
import { parseReference } from '../../../src/image/reference.js'
import type { Access, Store } from '../../../src/store/store.js'
import { makeTar } from '../../cluster/tar.js'
import { failure } from '../../failure.js'
import { admitting, FakeRegistry, type Handler } from '../../registry.js'
import { suite } from '../../suite.js'
import { ALICE, BOB, Lab, missing, pull, until } from './fixture.js'

const test = suite('store: proof')
const needed = missing()
const HOUR_S = 3600
/** Longer than a proof lasts, shorter than the hour. */
const LATER_MS = 660_000

let lab: Lab
let store: Store
let fake: FakeRegistry
let access: Access
let password = 'secret'
let isPrivate = true
let skipped_ms = 0
const now = performance.now.bind(performance)

test.before(async () => {
  if (needed !== undefined) return
  performance.now = () => now() + skipped_ms
  lab = new Lab()
  store = await lab.open({ tagTtlSeconds: HOUR_S })
  fake = await FakeRegistry.start()
  fake.before.push((...request) => isPrivate && admitting('alice', password)(...request))
  access = lab.withLogin(ALICE, fake.host, 'alice', 'secret')
})

test.after(async () => {
  performance.now = now
  if (needed !== undefined) return
  await fake.stop()
  await lab.close()
})

test.needs(needed, 'a proof that has lapsed is asked for again, however long a tag holds', async () => {
  isPrivate = true
  const { digest } = fake.putImage([makeTar([{ name: 'private', content: 'x' }])])
  for (const name of [`${fake.host}/private@${digest}`, `${fake.host}/private`]) {
    const { key } = await pull(store, name, access)
    const asked = fake.asked.length
    assert.is((await pull(store, name, access)).key, key)
    assert.is(fake.asked.length, asked, 'nothing is asked while the proof lasts')
    for (let use = 0; use < 3; use++) {
      skipped_ms += LATER_MS
      assert.is((await pull(store, name, access)).key, key)
    }
    assert.ok(fake.asked.length >= asked + 3, 'each time the proof had lapsed')
    skipped_ms += LATER_MS
    password = 'another'
    assert.is((await failure(pull(store, name, access))).code, 'BERTH_EAUTH')
    password = 'secret'
  }
})

test.needs(needed, 'of an image that everybody may have, a tag holds as long as the site says', async () => {
  isPrivate = false
  fake.putImage([makeTar([{ name: 'open', content: 'y' }])], { tag: 'open' })
  const name = `${fake.host}/open:open`
  const { key } = await pull(store, name)
  const asked = fake.asked.length
  skipped_ms += LATER_MS
  assert.is((await pull(store, name)).key, key)
  assert.is(fake.asked.length, asked)
  skipped_ms += HOUR_S * 1000
  assert.is((await pull(store, name)).key, key)
  assert.ok(fake.asked.length > asked)
})

test.needs(
  needed,
  'who may not have an image fails alone: others in the same import go on by their own right',
  async () => {
    isPrivate = true
    const { digest } = fake.putImage([makeTar([{ name: 'shared', content: 'z' }])], { tag: 'shared' })
    const reference = parseReference(`${fake.host}/private@${digest}`)
    let refuse: (() => void) | undefined
    const hold: Handler = (_request, response) => {
      if (refuse !== undefined) return false
      refuse = () => response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      return true
    }
    fake.before.unshift(hold)
    const stranger = failure(store.ensure(reference, digest, { access: BOB }))
    await until('the import that must fail', () => refuse !== undefined)
    let isAboard = false
    const progress = (): void => {
      isAboard = true
    }
    const image = store.ensure(reference, digest, { access, progress })
    image.catch(() => undefined)
    await until('its passenger', () => isAboard)
    refuse?.()
    assert.is((await stranger).code, 'BERTH_EAUTH')
    assert.is((await image).digest, digest)
    assert.not(store.inventory.list(BOB.uid).some((one) => one.digest === digest))
  },
)

test.run()
