// SPDX-License-Identifier: Apache-2.0
/** Who is asked for logins, and that nobody waits for one who has gone. */
import * as assert from 'uvu/assert'
import type { Connection } from '../../src/worker/connection.js'
import { loginOver } from '../../src/worker/login.js'
import { suite } from '../suite.js'

const test = suite('logins of a caller')
const question = { host: 'r.example', repository: 'a/b' }

/** A stand-in for a connection: what is sent is counted, and it closes when told. */
function makeConnection() {
  const closers: (() => void)[] = []
  const state = { isOpen: true, sent: 0 }
  const connection = {
    get isOpen() {
      return state.isOpen
    },
    onClosed(closer: () => void) {
      if (state.isOpen) closers.push(closer)
      else closer()
    },
    send() {
      state.sent += 1
    },
  } as unknown as Connection
  const close = () => {
    state.isOpen = false
    for (const closer of closers) closer()
  }
  return { connection, close, state }
}

test('a caller that left before it was asked leaves no question open', async () => {
  const { connection, close, state } = makeConnection()
  const ask = loginOver(connection)
  close()
  assert.is(await ask(question), undefined)
  assert.is(state.sent, 0)
})

test('nor does one that leaves while it is asked', async () => {
  const { connection, close, state } = makeConnection()
  const answer = loginOver(connection)(question)
  await Promise.resolve()
  await new Promise(setImmediate)
  assert.is(state.sent, 1)
  close()
  assert.is(await answer, undefined)
})

test.run()
