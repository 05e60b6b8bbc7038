// SPDX-License-Identifier: Apache-2.0
import { equal } from 'node:assert/strict'
import { Idle } from '../../src/worker/idle.js'
import { suite } from '../suite.js'

const test = suite('idle exit')
const SECONDS = 0.03

/** Resolves to true when the idle time has expired, to false when it has not within several times of it. */
function expires(make: (idle: Idle) => void, seconds = SECONDS): Promise<boolean> {
  return new Promise((resolve) => {
    const idle = new Idle(seconds, () => resolve(true))
    make(idle)
    setTimeout(() => {
      idle.stop()
      resolve(false)
    }, SECONDS * 5000)
  })
}

test('a worker that nobody needs ends', async () => {
  equal(await expires(() => undefined), true)
})

test('a worker that is held does not, until all have let go', async () => {
  equal(await expires((idle) => void idle.busy()), false)
  equal(
    await expires((idle) => {
      const [one, other] = [idle.busy(), idle.busy()]
      one()
      // Letting go twice must not stand for the other's release.
      one()
      setTimeout(other, 1000).unref()
    }),
    false,
  )
  equal(await expires((idle) => idle.busy()()), true)
})

test('0 seconds mean for ever', async () => {
  equal(await expires(() => undefined, 0), false)
})

test.run()
