// SPDX-License-Identifier: Apache-2.0
/** A process that is moved to the cgroups of a task comes into all of them, or into none when the step is ending. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { ADDON, missing } from '../ns/lab.js'

const test = suite('cgroups of a task')
const ROOTS = ['freezer', 'memory'].map((name) => join('/sys/fs/cgroup', name))
const GROUP = `berth-share-${process.pid}`
const needs =
  missing() ??
  (ROOTS.every((root) => existsSync(join(root, 'cgroup.procs')))
    ? undefined
    : 'no version 1 hierarchies of freezer and memory')

/** Whether a process moved by `script` has come to the task's cgroup of each root. */
async function moved(script: (pid: number, like: number) => string): Promise<boolean[]> {
  for (const root of ROOTS) mkdirSync(join(root, GROUP))
  const [task, other] = [spawn('sleep', ['60']), spawn('sleep', ['60'])]
  try {
    for (const root of ROOTS) writeFileSync(join(root, GROUP, 'cgroup.procs'), String(task.pid))
    spawnSync('unshare', ['-m', 'sh', '-c', script(other.pid ?? 0, task.pid ?? 0)], { stdio: 'inherit' })
    const cgroups = readFileSync(`/proc/${other.pid}/cgroup`, 'utf8')
    return ['freezer', 'memory'].map((name) => new RegExp(`:${name}:/${GROUP}$`, 'm').test(cgroups))
  } finally {
    const ended = [task, other].map((child) => new Promise((resolve) => child.once('exit', resolve)))
    for (const child of [task, other]) child.kill()
    await Promise.all(ended)
    for (const root of ROOTS) rmdirSync(join(root, GROUP))
  }
}

const share = (pid: number, like: number): string =>
  `'${process.execPath}' -e 'require("${ADDON}").shareCgroups(${pid}, ${like}).catch(() => {})'`

test.needs(needs, 'all that are there', async () => assert.equal(await moved(share), [true, true]))

test.needs(needs, 'none without the freezer, which Slurm removes first', async () => {
  const hidden = (pid: number, like: number): string =>
    `mount -t tmpfs tmpfs ${ROOTS[0]}/${GROUP} && ${share(pid, like)}`
  assert.equal(await moved(hidden), [false, false])
})

/**
 * The freezer's file is a pipe, so that the move waits there; the task ends, as its step does, and then the move goes on:
 * what slurmstepd looks for has passed by then.
 */
test.needs(
  needs,
  'a step that ends meanwhile: none, and what of its cgroups Slurm could not remove goes',
  async () => {
    const [freezer = '', memory = ''] = ROOTS.map((root) => join(root, GROUP, 'step_0/task_0'))
    for (const path of [freezer, memory]) mkdirSync(path, { recursive: true })
    const pipe = join(tmpdir(), GROUP)
    const [task, other] = [spawn('sleep', ['60']), spawn('sleep', ['60'])]
    const ended = [task, other].map((child) => new Promise((resolve) => child.once('exit', resolve)))
    try {
      for (const path of [freezer, memory]) writeFileSync(join(path, 'cgroup.procs'), String(task.pid))
      const script = `mkfifo ${pipe}; mount --bind ${pipe} ${freezer}/cgroup.procs
${share(other.pid ?? 0, task.pid ?? 0)} & moving=$!
until grep -qs wait_for_partner /proc/$moving/task/*/wchan; do sleep 0.02; done
kill -9 ${task.pid}
while grep -qs '(sleep) [^Z]' /proc/${task.pid}/stat; do sleep 0.02; done
cat ${pipe}; wait`
      const before = readFileSync(`/proc/${other.pid}/cgroup`, 'utf8')
      const seen = spawnSync('unshare', ['-m', 'sh', '-c', script], { encoding: 'utf8', timeout: 20_000 })
      assert.is(seen.stdout, String(other.pid), seen.stderr)
      assert.is(readFileSync(`/proc/${other.pid}/cgroup`, 'utf8'), before)
      assert.not(existsSync(join(ROOTS[1] ?? '', GROUP, 'step_0')))
    } finally {
      for (const child of [task, other]) child.kill('SIGKILL')
      await Promise.all(ended)
      const left = ROOTS.flatMap((root) =>
        ['/step_0/task_0', '/step_0', ''].map((name) => `${root}/${GROUP}${name}`),
      )
      spawnSync('rmdir', left)
      rmSync(pipe, { force: true })
    }
  },
)

test.run()
