// SPDX-License-Identifier: Apache-2.0
/** Which devices a process may open, asked in its cgroup: with a real one that denies a device. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { readOr } from '../../cluster/daemon.js'
import { suite } from '../../suite.js'
import { loadNative, missing } from '../ns/lab.js'

const test = suite('device probe')
const ROOT = '/sys/fs/cgroup/devices'
const EPERM = 1
const ENOENT = 2
const needs = missing()
const native = needs === undefined ? loadNative() : (undefined as never)
const version1 =
  needs ?? (existsSync(join(ROOT, 'cgroup.procs')) ? undefined : 'no version 1 hierarchy of devices')

test.needs(
  version1,
  'a device that the cgroup denies gives EPERM, to root too; others and missing ones do not',
  async () => {
    const group = join(ROOT, `berth-probe-${process.pid}`)
    mkdirSync(group)
    const child = spawn('sleep', ['60'])
    try {
      // /dev/full
      writeFileSync(join(group, 'devices.deny'), 'c 1:7 rwm')
      writeFileSync(join(group, 'cgroup.procs'), String(child.pid))
      const paths = ['/dev/null', '/dev/full', '/dev/none-of-this-name']
      assert.equal(await native.probeDevices(child.pid ?? 0, paths), [0, EPERM, ENOENT])
      assert.equal(await native.probeDevices(process.pid, paths), [0, 0, ENOENT])
    } finally {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill()
      await ended
      rmdirSync(group)
    }
  },
)

test.needs(needs, 'a process that is gone is an error, not an answer', async () => {
  const child = spawn('true')
  await new Promise((resolve) => child.once('exit', resolve))
  const failure = await native.probeDevices(child.pid ?? 0, ['/dev/null']).then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.instance(failure, Error)
})

test.needs(
  needs,
  'the child that asks has no signals of the worker\u2019s: a handler of Node\u2019s would tell the worker',
  async () => {
    const many = 200_000
    let done = false
    let blocked = ''
    const probed = native.probeDevices(process.pid, Array(many).fill('/dev/null')).finally(() => {
      done = true
    })
    while (!done && blocked === '') {
      blocked =
        childrenOf(process.pid)
          .map(blockedSignals)
          .find((mask) => mask !== '') ?? ''
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal(await probed, Array(many).fill(0))
    // SIGTERM and SIGHUP among them.
    assert.match(blocked, /^f{3}[\da-f]{12}f$/)
  },
)

function childrenOf(pid: number): string[] {
  const lists = readdirSync(`/proc/${pid}/task`).map((task) => readOr(`/proc/${pid}/task/${task}/children`))
  return lists.flatMap((list) => list.split(' ').filter(Boolean))
}

/** proc(5): status. */
function blockedSignals(pid: string): string {
  return /^SigBlk:\t([\da-f]+)$/m.exec(readOr(`/proc/${pid}/status`))?.[1] ?? ''
}

test.run()
