// SPDX-License-Identifier: Apache-2.0
/** Named containers on a node without Slurm: their life, and what a worker's crash leaves of it. */
import { deepEqual, equal, match } from 'node:assert/strict'
import {
  chownSync,
  copyFileSync,
  existsSync,
  readdirSync,
  renameSync,
  symlinkSync,
  utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import { processAlive } from '../../cluster/daemon.js'
import { suite } from '../../suite.js'
import { missingForNode, TestNode } from './node.js'
import type { StepOptions, TestStep } from './stand_in.js'
import { OTHER_UID, UID } from './stand_in.js'
import { until } from './until.js'

const test = suite('containers with a name')
const missing = missingForNode()
let node: TestNode

test.before(() => {
  if (missing !== undefined) return
  node = new TestNode()
  node.startKeeper()
})
test.after(async () => {
  if (missing !== undefined) return
  equal((await node.stop()).join('\n'), '')
})

const started: TestStep[] = []

/** What it leaves running would change the next one. */
function scene(promise: string, body: () => Promise<void>): void {
  test.needs(missing, promise, async () => {
    try {
      await body()
    } finally {
      for (const one of started.splice(0)) one.kill()
      await until('no lease', () => node.leases().length === 0)
    }
  })
}

function step(name: string, script: string, more: StepOptions & { image?: boolean } = {}): TestStep {
  const image = more.image === false ? [] : [`container-image=${node.image}`]
  const options = [`container-name=${name}`, ...image, ...(more.options ?? [])]
  const one = node.step({ ...more, options, command: ['sh', '-c', script] })
  started.push(one)
  return one
}

/** Runs one task to its end; the step's end is awaited. */
async function run(name: string, script: string, more: StepOptions & { image?: boolean } = {}) {
  const one = step(name, script, more)
  const [code] = await one.run()
  await end(one)
  return { code, stdout: one.stdout, stderr: one.stderr }
}

async function end(one: TestStep): Promise<void> {
  one.end()
  await until('its release', () => !node.leases().includes(`${one.handle}.json`))
}

async function stays(name: string, more: StepOptions & { image?: boolean } = {}): Promise<TestStep> {
  const one = step(name, 'echo x > /tmp/private; readlink /proc/self/ns/mnt; exec sleep 1000', more)
  one.start(0)
  await until(`its namespace; ${one.stderr}`, () => one.stdout.includes('mnt:'))
  return one
}

async function killWorker(): Promise<void> {
  const pid = await node.workerPid()
  process.kill(pid, 'SIGKILL')
  await until('the end of the worker', () => !processAlive(pid))
  // The next one starts when somebody asks.
  equal(node.cli('ps').status, 0)
}

function onDisk(scope = 'global', uid = UID): string[] {
  const folder = join(node.store, 'containers', String(uid), scope)
  return existsSync(folder) ? readdirSync(folder).sort() : []
}

scene('what is written stays; nothing is said; the owner is the user', async () => {
  const made = await run('kept', 'echo one > /file; stat -c %u / /file')
  deepEqual(made, { code: 0, stdout: `${UID}\n${UID}\n`, stderr: '' })
  const again = await run('kept', 'cat /file; rm /etc/inside; ls /etc/inside', { image: false })
  match(again.stderr, /No such file/)
  equal(again.stdout, 'one\n')
  const third = await run('kept', 'cat /file; test -e /etc/inside || echo gone')
  deepEqual(third, { code: 0, stdout: 'one\ngone\n', stderr: '' })
  equal((await run('other', 'ls /file; cat /etc/inside')).stdout, 'berth-test\n')
})

scene('a container is its user’s alone', async () => {
  const other = await run('kept', 'ls /file', { uid: OTHER_UID, image: false })
  equal(other.code, 125)
  match(other.stderr, /a container with name "kept" does not exist, and --container-image is not set/)
})

scene('create refuses one that exists, exec one that does not run', async () => {
  match((await run('kept:create', 'true')).stderr, /BERTH_ENAMEEXISTS/)
  match((await run('kept:exec', 'true')).stderr, /BERTH_ENAMEIDLE.*not running/)
  match((await run('nowhere', 'true', { image: false })).stderr, /BERTH_ENAMEMISSING/)
})

scene('read-only when asked', async () => {
  const seen = await run('kept', 'touch /no', { options: ['container-readonly=1'] })
  match(seen.stderr, /Read-only file system/)
})

scene('an image stays as long as the disk does not give the record of a container', async () => {
  const own = join(node.dir, 'own.sqsh')
  copyFileSync(node.image, own)
  chownSync(own, UID, UID)
  const copied = { image: false, options: [`container-image=${own}`] }
  equal((await run('below', 'echo kept > /file', copied)).code, 0)
  const record = join(node.store, 'containers', String(UID), 'global/below/container.json')
  renameSync(record, `${record}.kept`)
  symlinkSync(record, record)
  await killWorker()
  const { stdout, stderr } = node.cli('gc', '--all')
  equal(stdout, '')
  match(stderr, /^kept: every image, until the disk gives the record of container below \(user \d+\)$/m)
  renameSync(`${record}.kept`, record)
  equal((await run('below', 'cat /file', { image: false })).stdout, 'kept\n')
})

scene('a start that fails leaves no new container', async () => {
  const failed = await run('halfway', 'true', { options: ['container-mounts=/no/such/thing:/x'] })
  match(failed.stderr, /source path does not exist/)
  equal(onDisk().includes('halfway'), false)
  equal((await run('kept', 'true', { options: ['container-mounts=/no/such/thing:/x'] })).code, 125)
  equal(onDisk().includes('kept'), true)
})

scene('a second step joins what runs: its mounts, its namespaces, cwd /', async () => {
  const first = await stays('kept')
  const script = 'pwd; cat /tmp/private; readlink /proc/self/ns/mnt'
  const second = await run('kept', script, { image: false })
  deepEqual(second, { code: 0, stdout: `/\nx\n${first.stdout}`, stderr: '' })
  const third = await run('kept:exec', 'true', { image: false, options: ['container-mounts=/:/mnt/x'] })
  equal(third.code, 0)
  match(third.stderr, /ignoring --container-mounts/)
  const fourth = await run('kept', 'true', { options: ['container-unshare=net'] })
  match(
    fourth.stderr,
    /--container-unshare=net requested but the container is not in a separate network namespace/,
  )
})

scene('no_exec: the same files, mounts of its own', async () => {
  await stays('kept')
  const second = await run('kept:no_exec', 'cat /file; ls /tmp; echo two > /file')
  deepEqual(second, { code: 0, stdout: 'one\n', stderr: '' })
  const seen = await run('kept', 'cat /file', { image: false })
  equal(seen.stdout, 'two\n')
})

scene('JOBID.STEPID joins the unnamed container of a step, of the same user only', async () => {
  const plain = node.step({ command: ['sh', '-c', 'echo y > /tmp/here; echo ready; exec sleep 1000'] })
  started.push(plain)
  plain.start(0)
  await plain.sees('ready')
  equal((await run('4711.0', 'cat /tmp/here', { image: false })).stdout, 'y\n')
  match((await run('4711.0', 'true', { image: false, uid: OTHER_UID })).stderr, /does not exist/)
})

scene('after kill -9 of the worker a running container is joined as before', async () => {
  const first = await stays('kept')
  await killWorker()
  const second = step('kept', 'cat /tmp/private; readlink /proc/self/ns/mnt; exec sleep 1000', {
    image: false,
  })
  second.start(0)
  await until(`the same namespace; ${second.stderr}`, () => second.stdout === `x\n${first.stdout}`)
  // The one who joined is joined, too, when the first has gone and the worker again.
  first.kill()
  await until('one lease', () => node.leases().length === 1)
  await killWorker()
  const third = await run('kept', 'cat /tmp/private', { image: false })
  deepEqual(third, { code: 0, stdout: 'x\n', stderr: '' })
})

scene('after kill -9 a second instance is refused rather than mounted twice', async () => {
  const first = await stays('kept')
  await killWorker()
  match((await run('kept:no_exec', 'true')).stderr, /BERTH_ENAMEBUSY/)
  first.kill()
  await until('no lease', () => node.leases().length === 0)
  equal((await run('kept:no_exec', 'cat /file')).stdout, 'two\n')
})

scene('fifty starts at once on five names, made at once', async () => {
  const names = ['n1', 'n2', 'n3', 'n4', 'n5']
  const made = await Promise.all(names.map((name) => run(name, `echo ${name} > /who`)))
  equal(made.map(({ code }) => code).join(), '0,0,0,0,0')
  const all = Array.from({ length: 50 }, (_, index) => names[index % 5] ?? '')
  const runs = await Promise.all(all.map((name) => run(`${name}:no_exec`, 'cat /who', { image: false })))
  equal(runs.map(({ stderr }) => stderr).join(''), '')
  equal(runs.map(({ stdout }) => stdout.trim()).join(), all.join())
})

scene('one name made by ten steps at once: one container, all run in it', async () => {
  const runs = await Promise.all(
    Array.from({ length: 10 }, (_, index) => run('rush', `echo ${index} >> /all; sleep 0.2`)),
  )
  equal(runs.map(({ code, stderr }) => `${code}${stderr}`).join(), Array(10).fill('0').join())
  equal((await run('rush', 'cat /all')).stdout.trim().split('\n').length, 10)
})

scene('accounts that were added stay, whoever the user appears as', async () => {
  const asRoot = { options: ['container-remap-root=1'] }
  const add = 'echo svc:x:99:99::/:/bin/sh >> /etc/passwd; echo svc:x:99: >> /etc/group; id -un'
  equal((await run('accounts', add, asRoot)).stdout, 'root\n')
  const seen = await run('accounts', 'grep -c ^svc: /etc/passwd /etc/group; id -u; id -un')
  match(seen.stdout, /passwd:1\n.*group:1\n61301\n/)
  equal((await run('accounts', 'grep -c ^svc: /etc/passwd', asRoot)).stdout, '1\n')
})

scene('a container whose image file was replaced is refused, and says why', async () => {
  equal((await run('based', 'true')).code, 0)
  utimesSync(node.image, 1, 1)
  match((await run('based', 'true', { image: false })).stderr, /BERTH_ENAMEBASE/)
})

test.run()
