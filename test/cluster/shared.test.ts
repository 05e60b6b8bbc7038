// SPDX-License-Identifier: Apache-2.0
/** Two nodes of a real cluster with one shared store: whoever is first imports for both. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { useCluster } from './fixture.js'
import { otherRelease } from './images.js'

const test = suite('shared store')
const shared = process.getuid?.() === 0 ? mkdtempSync(join(tmpdir(), 'berth-shared-')) : '/nonexistent'
const at = useCluster(test, { berthConf: `shared_store = ${shared}\n` })

test.after(() => rmSync(shared, { recursive: true, force: true }))

test('a step on two nodes: each layer is fetched once, and both run', async () => {
  at.registry.forget()
  const command = ['sh', '-c', '. /etc/os-release; echo $VERSION_CODENAME']
  const seen = await at.cluster.srun(['-N2', '-n2', `--container-image=${at.images.debian}`, ...command])
  assert.is(seen.code, 0, seen.output)
  assert.is(seen.stdout, `${otherRelease()}\n`.repeat(2))
  for (const digest of await at.registry.layers(at.images.debian))
    assert.is(await at.registry.fetches(digest), 1, digest)
  const files = () =>
    readdirSync(join(shared, 'images'))
      .map((name) => name.replace(/^.*\./, ''))
      .sort()
  assert.equal(files(), ['json', 'sqsh'])
})

test.run()
