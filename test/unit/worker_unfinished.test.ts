// SPDX-License-Identifier: Apache-2.0
import { equal } from 'node:assert/strict'
import { Unfinished } from '../../src/worker/unfinished.js'
import { suite } from '../suite.js'

const test = suite('unfinished frames')
const [ALICE, BOB, ROOT] = [1001, 1002, 0]
const never = () => undefined

test('a user has so many bytes of them in all connections together, others have their own', () => {
  const all = new Unfinished(100)
  const [one, two] = [all.of(ALICE, never), all.of(ALICE, never)]
  equal(one.keep(60, false), true)
  equal(two.keep(40, false), true)
  equal(two.keep(50, false), false)
  equal(all.of(BOB, never).keep(100, false), true)
  equal(all.of(ROOT, never).keep(1000, false), true)
  two.keep(0, true)
  equal(one.keep(100, false), true)
})

test('one whose end does not come is late, one that is whole or followed by another is not', async () => {
  const wait_ms = 20
  const all = new Unfinished(100, wait_ms)
  const late: string[] = []
  const whole = all.of(ALICE, () => late.push('whole'))
  whole.keep(10, false)
  whole.keep(0, true)
  await new Promise<void>((resolve) => {
    const cut = all.of(ALICE, () => {
      late.push('cut')
      resolve()
    })
    cut.keep(10, false)
    cut.keep(20, false)
    // The worker's own wait keeps nothing running.
    setTimeout(never, 50 * wait_ms)
  })
  equal(late.join(), 'cut')
})

test.run()
