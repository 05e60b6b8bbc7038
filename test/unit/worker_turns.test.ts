// SPDX-License-Identifier: Apache-2.0
import { equal, rejects } from 'node:assert/strict'
import { Turns } from '../../src/worker/turns.js'
import { suite } from '../suite.js'

const test = suite('errands of users')
const never = new AbortController().signal

/** A piece of work that ends when told to. */
function work() {
  let end: () => void = () => undefined
  const done = new Promise<void>((resolve) => {
    end = resolve
  })
  const piece = { started: false, end, run }
  function run(): Promise<void> {
    piece.started = true
    return done
  }
  return piece
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

test('one user waits behind oneself, others go on', async () => {
  const turns = new Turns(1)
  const [one, two, other] = [work(), work(), work()]
  const first = turns.take(1, never, one.run)
  const second = turns.take(1, never, two.run)
  const third = turns.take(2, never, other.run)
  await settle()
  equal([one, two, other].map(({ started }) => started).join(), 'true,false,true')
  one.end()
  await first
  await settle()
  equal(two.started, true)
  two.end()
  other.end()
  await Promise.all([second, third])
})

test('who goes away while waiting is never started, and keeps nobody from it', async () => {
  const turns = new Turns(1)
  const [one, gone, next] = [work(), work(), work()]
  const leave = new AbortController()
  const first = turns.take(1, never, one.run)
  const second = turns.take(1, leave.signal, gone.run)
  const third = turns.take(1, never, next.run)
  leave.abort(new Error('gone'))
  await rejects(second, /gone/)
  one.end()
  await first
  await settle()
  equal(gone.started, false)
  equal(next.started, true)
  next.end()
  await third
})

test('work that fails gives its turn back', async () => {
  const turns = new Turns(1)
  await rejects(
    turns.take(1, never, () => Promise.reject(new Error('no'))),
    /no/,
  )
  equal(await turns.take(1, never, () => Promise.resolve('yes')), 'yes')
})

test.run()
