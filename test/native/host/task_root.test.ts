// SPDX-License-Identifier: Apache-2.0
/** Where root looks from a task's root, and where it does not. */
import { spawn } from 'node:child_process'
import { existsSync, readlinkSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { openTaskRoot } from '../../../src/launch/task_root.js'
import { until } from '../../cluster/command.js'
import { suite } from '../../suite.js'

const test = suite('root of a task')

/** Runs `use` with the pid of a process in namespaces of its own. */
async function beside(flags: readonly string[], use: (pid: number) => void): Promise<void> {
  const child = spawn('unshare', [...flags, 'sleep', '300'], { stdio: 'ignore' })
  try {
    const pid = child.pid ?? 0
    const mounts = () => readlinkSync(`/proc/${pid}/ns/mnt`)
    await until('its namespaces', async () => mounts() !== readlinkSync('/proc/self/ns/mnt'), 60_000)
    use(pid)
  } finally {
    child.kill('SIGKILL')
  }
}

test('a mount namespace that root made is looked into', () =>
  beside(['--mount'], (pid) => {
    const root = openTaskRoot(pid)
    assert.match(root.path, /^\/proc\/\d+\/fd\/\d+$/)
    assert.is(statSync(`${root.path}/etc`).ino, statSync('/etc').ino)
    root.close()
    assert.not.ok(existsSync(`${root.path}/etc`))
  }))

test('that of a user namespace is not, nor that of a process that has ended', async () => {
  await beside(['--user', '--map-root-user', '--mount'], (pid) => assert.is(openTaskRoot(pid).path, ''))
  assert.is(openTaskRoot(2 ** 22).path, '')
})

test.run()
