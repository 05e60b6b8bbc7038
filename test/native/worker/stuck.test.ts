// SPDX-License-Identifier: Apache-2.0
/** A user's process whose memory nobody can look at (stuck.c) holds up nothing of the worker's. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { DIST, missing, until } from '../ns/lab.js'

const test = suite('processes that cannot be looked at')
const needs = missing() ?? (existsSync('/etc/fuse.conf') ? undefined : 'needs fuse3')
const UID = '61304'
/** What looks at them has its answer long before. */
const LOOK_MS_MAX = 30_000

let folder = ''
let stuck: ChildProcess | undefined

test.before(async () => {
  if (needs !== undefined) return
  folder = mkdtempSync(join(tmpdir(), 'berth-stuck-'))
  chmodSync(folder, 0o755)
  const [program, device] = [join(folder, 'stuck'), join(folder, 'fuse')]
  execFileSync('cc', ['-O1', '-o', program, join(import.meta.dirname, 'stuck.c'), '-lpthread'])
  execFileSync('mknod', ['-m', '666', device, 'c', '10', '229'])
  const become = [`--reuid=${UID}`, `--regid=${UID}`, '--clear-groups']
  stuck = spawn('setpriv', [...become, program, device], { stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  stuck.stdout?.on('data', (text: Buffer) => {
    said += text
  })
  await until(() => said.endsWith('\n') && isStuck(Number(said)), 'the process to be stuck')
})

test.after(() => {
  if (needs !== undefined) return
  stuck?.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

/** It waits in the kernel: the third field of proc(5)'s stat. */
function isStuck(pid: number): boolean {
  return /^\d+ \(.*\) D/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}

/** What a process of its own prints; one that is held up is killed. */
function script(body: string): string {
  const argv = ['--input-type=module', '-e', `const dist = ${JSON.stringify(DIST)}\n${body}`]
  const said = spawnSync(process.execPath, argv, {
    encoding: 'utf8',
    timeout: LOOK_MS_MAX,
    killSignal: 'SIGKILL',
  })
  assert.is(said.signal, null, 'it waited for the process')
  assert.is(said.status, 0, said.stderr)
  return said.stdout
}

test.needs(needs, 'a search for the processes of a job', () => {
  const found = script(`const { jobOf } = await import(dist + '/launch/job_end.js')
    console.log(JSON.stringify(jobOf(1, {})))`)
  assert.is(found, '{"processes":[]}\n')
})

test.needs(
  needs,
  'the environment of a launcher that is one: the worker goes on meanwhile, and without it',
  () => {
    const said = script(`const { environmentOf } = await import(dist + '/worker/place.js')
    let isOver = false
    const reading = environmentOf(${stuck?.pid}).then((found) => { isOver = true; return found })
    const other = await environmentOf(process.pid)
    console.log(other.get('PATH') === process.env.PATH, isOver, await reading)`)
    assert.is(said, 'true false undefined\n')
  },
)

test.run()
