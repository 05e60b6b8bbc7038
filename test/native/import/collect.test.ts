// SPDX-License-Identifier: Apache-2.0
/** What is collected, and what stays since somebody wants it. */
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { parseReference } from '../../../src/image/reference.js'
import type { Request } from '../../../src/request/request.js'
import { keyOf } from '../../../src/store/containers.js'
import { writeLayout } from '../../cluster/layout.js'
import { makeTar } from '../../cluster/tar.js'
import { suite } from '../../suite.js'
import { ALICE, BOB, DIST, Lab, missing, pull } from './fixture.js'

const test = suite('store: collecting')
const ROUNDS = 5

test.needs(
  missing(),
  'an image stays between its import and its use, whatever is collected meanwhile',
  async () => {
    const lab = new Lab()
    const layout = lab.publicFolder('layout')
    writeLayout(layout, { layers: [makeTar([{ name: 'file', content: 'text' }])] })
    const store = await lab.open()
    let done = false
    let removed = 0
    const collect = async () => {
      while (!done) {
        removed += (await store.inventory.collect({ all: true })).removed.length
        await nextTurn()
      }
    }
    const collecting = collect()
    try {
      for (let round = 0; round < ROUNDS; round++) {
        const start = async (access: typeof ALICE) =>
          store.hold(await pull(store, `oci:${layout}:latest`, access))
        const leases = await Promise.all([ALICE, BOB].map(start))
        for (const lease of leases) lease.release()
      }
    } finally {
      done = true
      await collecting
      await lab.close()
    }
    assert.ok(removed >= ROUNDS - 1, `${removed} removed`)
  },
)

test.needs(
  missing(),
  'a container that is made after others of its name had their turn has its image',
  async () => {
    const lab = new Lab()
    try {
      const layout = lab.publicFolder('layout')
      writeLayout(layout, { layers: [makeTar([{ name: 'file', content: 'text' }])] })
      const store = await lab.open()
      // Beside the addon, which they load.
      const { createNamed } = (await import(
        join(DIST, 'launch/open_named.js')
      )) as typeof import('../../../src/launch/open_named.js')
      const { Running } = (await import(
        join(DIST, 'launch/running.js')
      )) as typeof import('../../../src/launch/running.js')
      const running = new Running()
      const id = { uid: ALICE.uid, scope: 'global', name: 'made' }
      const request = { name: { name: 'made', mode: 'auto' } } as Request
      const reference = parseReference(`oci:${layout}:latest`)
      const asker = { handle: '', job: 0, env: {}, uid: ALICE.uid }
      let leave = () => {}
      const before = running.inTurn(keyOf(id), () => new Promise<void>((resolve) => (leave = resolve)))
      let isMade = false
      const rooms = { store, running, site: { get: () => '' as never }, jobEnds: { watch: () => undefined } }
      const made = createNamed(rooms, asker, { id, request }, reference, () =>
        pull(store, `oci:${layout}:latest`),
      ).finally(() => {
        isMade = true
      })
      await store.inventory.collect({ all: true })
      leave()
      await before
      while (!isMade) {
        await store.inventory.collect({ all: true })
        await nextTurn()
      }
      await made
      const [container] = store.containers.list()
      assert.is.not(store.byKey(container?.image.key ?? ''), undefined)
    } finally {
      await lab.close()
    }
  },
)

test.run()
