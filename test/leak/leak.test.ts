// SPDX-License-Identifier: Apache-2.0
/** Runs last: after the whole suite the machine is as it was before. */
import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { until } from '../cluster/command.js'
import { removeUsers } from '../cluster/users.js'
import { suite } from '../suite.js'
import { difference, lookAtMachine, type Machine, removeEmptyCgroups } from './machine.js'

const test = suite('leak')
const file = process.env.BERTH_MACHINE_BEFORE
/** The kernel frees loop devices and namespaces a moment after the last process ended. */
const SETTLE_TIME_MAX_MS = 30_000

test.needs(
  file === undefined ? 'runs in npm test, which took the snapshot' : undefined,
  'mounts, loop devices, cgroups and processes are as before',
  async () => {
    await removeUsers()
    const before = JSON.parse(readFileSync(file ?? '', 'utf8')) as Machine
    const settled = async (): Promise<boolean> => {
      removeEmptyCgroups(before)
      return difference(before, lookAtMachine()).length === 0
    }
    await until('the machine to be as before', settled, SETTLE_TIME_MAX_MS, 200).catch(() => {})
    assert.equal(difference(before, lookAtMachine()), [])
  },
)

test.run()
