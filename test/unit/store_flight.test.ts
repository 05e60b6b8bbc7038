// SPDX-License-Identifier: Apache-2.0
import * as assert from 'uvu/assert'
import { bytesOver, type Candidate, chooseVictims } from '../../src/store/collect.js'
import { Flights } from '../../src/store/flight.js'
import { Gate } from '../../src/store/gate.js'
import { Grants } from '../../src/store/grants.js'
import { suite } from '../suite.js'

const test = suite('store: sharing and collecting')

function deferred<T>() {
  let resolve: (value: T) => void = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

const messageOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no failure',
    (error: Error) => error.message,
  )

test('many who want one thing start one piece of work and all see its progress', async () => {
  const flights = new Flights<number, string>()
  const work = deferred<string>()
  let started = 0
  const seen: number[][] = [[], []]
  let report = (_step: number) => {}
  const start = (tell: (step: number) => void) => {
    started++
    report = tell
    return work.promise
  }
  const first = flights.join('a', { progress: (step) => seen[0]?.push(step) }, start)
  report(1)
  const second = flights.join('a', { progress: (step) => seen[1]?.push(step) }, start)
  report(2)
  work.resolve('done')
  assert.equal(await Promise.all([first, second]), ['done', 'done'])
  assert.is(started, 1)
  assert.equal(seen, [
    [1, 2],
    [1, 2],
  ])
  assert.not(flights.has('a'))
})

test('who leaves does not end the work of the others; the last one does, and waits for the tidying', async () => {
  const flights = new Flights<number, string>()
  const [one, two] = [new AbortController(), new AbortController()]
  let stopped = false
  const tidied = deferred<string>()
  const start = (_: unknown, signal: AbortSignal) => {
    signal.addEventListener('abort', () => {
      stopped = true
    })
    return tidied.promise
  }
  const first = messageOf(flights.join('a', { signal: one.signal }, start))
  const second = messageOf(flights.join('a', { signal: two.signal }, start))
  one.abort(new Error('first left'))
  assert.is(await first, 'first left')
  assert.not(stopped)
  two.abort(new Error('second left'))
  assert.ok(stopped)
  let gone = false
  void second.then(() => {
    gone = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.not(gone, 'before the tidying')
  tidied.reject(new Error('killed'))
  assert.is(await second, 'second left')
})

test('a failure reaches everybody, and the next one tries anew', async () => {
  const flights = new Flights<number, string>()
  const fail = () => Promise.reject(new Error('broken'))
  const signal = new AbortController().signal
  const both = [flights.join('a', {}, fail), flights.join('a', { signal }, fail)]
  assert.equal(await Promise.all(both.map(messageOf)), ['broken', 'broken'])
  assert.is(await flights.join('a', {}, async () => 'fine'), 'fine')
})

test('who leaves at the first sign of work is heard', async () => {
  const flights = new Flights<number, string>()
  const stop = new AbortController()
  const progress = () => stop.abort(new Error('only looked'))
  const work = (report: (step: number) => void, signal: AbortSignal) => {
    report(0)
    return new Promise<string>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
  assert.is(await messageOf(flights.join('a', { signal: stop.signal, progress }, work)), 'only looked')
})

test('a gate lets so many in, in order, and forgets who gave up waiting', async () => {
  const gate = new Gate(1)
  const never = new AbortController()
  const leave = await gate.enter(1, never.signal)
  const impatient = new AbortController()
  const gaveUp = messageOf(gate.enter(1, impatient.signal))
  const order: string[] = []
  const next = gate.enter(1, never.signal).then((out) => {
    order.push('next')
    return out
  })
  impatient.abort(new Error('tired'))
  assert.is(await gaveUp, 'tired')
  assert.equal(order, [])
  leave()
  ;(await next)()
  assert.equal(order, ['next'])
  ;(await gate.enter(1, never.signal))()
})

test('one user never has all places of a gate, and passes nobody who could go in', async () => {
  const gate = new Gate(3)
  const { signal } = new AbortController()
  const inside: string[] = []
  const enter = async (uid: number) => {
    const leave = await gate.enter(uid, signal)
    inside.push(String(uid))
    return leave
  }
  const [first] = await Promise.all([enter(1), enter(1)])
  const third = enter(1)
  await enter(2)
  assert.equal(inside, ['1', '1', '2'])
  const other = enter(3)
  first?.()
  await third
  assert.equal(inside, ['1', '1', '2', '1'])
  ;(await third)()
  await other
  assert.equal(inside, ['1', '1', '2', '1', '3'])
})

test('the least recently used goes first; what is in use, pinned or fresh stays', () => {
  const image = (key: string, used: number, kept = false): Candidate => ({ key, size: 10, used, kept })
  const images = [image('new', 3), image('old', 1), image('leased', 0, true), image('middle', 2)]
  const keys = (bytes: number) => chooseVictims(images, bytes).map(({ key }) => key)
  assert.equal(keys(0), [])
  assert.equal(keys(5), ['old'])
  assert.equal(keys(11), ['old', 'middle'])
  assert.equal(keys(1000), ['old', 'middle', 'new'])
})

test('space is asked for by quota and by floor, whichever wants more', () => {
  assert.is(bytesOver(10, 100, 1000, { quota: 0, floor: 0 }), 0)
  assert.is(bytesOver(10, 100, 1000, { quota: 105, floor: 0 }), 5)
  assert.is(bytesOver(10, 100, 50, { quota: 105, floor: 100 }), 60)
  assert.is(bytesOver(0, 100, 50, { quota: 1000, floor: 20 }), 0)
})

test('a proof holds for one user, one place, one digest and some minutes', () => {
  const grants = new Grants()
  const places = ['reg.io/a']
  grants.give(1000, 'reg.io/a', 'sha256:a', 0)
  assert.ok(grants.has(1000, ['reg.io/b', 'reg.io/a'], ['sha256:b', 'sha256:a'], 1000))
  assert.not(grants.has(1001, places, ['sha256:a'], 1000))
  assert.not(grants.has(1000, ['reg.io/b'], ['sha256:a'], 1000))
  assert.not(grants.has(1000, places, ['sha256:b'], 1000))
  assert.not(grants.has(1000, places, ['sha256:a'], 3_600_000))
  for (let uid = 0; uid < 30_000; uid++) grants.give(uid, 'reg.io/a', 'x', 0)
  assert.ok(grants.has(29_999, places, ['x'], 1))
})

test('a clock that is set back makes no proof last longer', () => {
  const grants = new Grants()
  const [date, monotonic] = [Date.now, performance.now]
  grants.give(1000, 'reg.io/a', 'sha256:a')
  assert.ok(grants.has(1000, ['reg.io/a'], ['sha256:a']))
  Date.now = () => date() - 3_600_000
  performance.now = () => monotonic.call(performance) + 700_000
  const lasts = grants.has(1000, ['reg.io/a'], ['sha256:a'])
  Object.assign(Date, { now: date })
  performance.now = monotonic
  assert.not(lasts)
})

test.run()
