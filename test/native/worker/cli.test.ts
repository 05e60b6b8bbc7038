// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, match } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from '../../suite.js'
import { missingForNode, TestNode } from './node.js'
import { DIST, OTHER_UID, UID } from './stand_in.js'
import { until } from './until.js'

const test = suite('berth run and its sisters')
const missing = missingForNode()
let node: TestNode

test.before(() => {
  if (missing !== undefined) return
  node = new TestNode()
})
test.after(async () => {
  if (missing === undefined) equal((await node.stop()).join('\n'), '')
})

/** Resident memory of an idle worker, as issue 4 has it. */
const RSS_MIB_MAX = 80

test.needs(missing, 'doctor as root tells that no worker runs, and starts none', () => {
  const findings: { check: string; state: string; found: string }[] = JSON.parse(
    node.cli('doctor', '--json').stdout,
  )
  const worker = findings.find(({ check }) => check === 'worker')
  equal(worker?.state, 'ok')
  match(worker?.found ?? '', /^none is running/)
  equal(node.keeperPid(), 0)
})

test.needs(missing, 'doctor tells where steps should write to disk and cannot', () => {
  const config = join(node.dir, 'disk.conf')
  writeFileSync(config, 'container_writable_on = disk\nengine_path = /nowhere\n')
  const { stdout, status } = node.cli('doctor', `--config=${config}`)
  match(stdout, /^fail {2}writable on disk .*no mkfs\.ext4 in \/nowhere.*\n {6}fix: install e2fsprogs/m)
  equal(status, 3)
})

test.needs(missing, 'as root it starts the worker itself', () => {
  const { status, stdout, stderr } = node.cli('run', node.image, '--', 'cat', '/etc/inside')
  equal(stderr, '')
  equal(stdout, 'berth-test\n')
  equal(status, 0)
})

test.needs(missing, "the command's exit code is berth's; 127 and 126 as in a shell", () => {
  equal(node.cliAs(UID, 'run', node.image, '--', 'sh', '-c', 'exit 42').status, 42)
  equal(node.cliAs(UID, 'run', node.image, '--', 'no-such-program').status, 127)
  equal(node.cliAs(UID, 'run', node.image, '--', '/etc').status, 126)
  equal(node.cliAs(UID, 'run', '/nonexistent.sqsh', '--', 'true').status, 125)
})

test.needs(missing, "stdin is the command's", () => {
  const { command, args, options } = node.cliCommand(UID, 'run', node.image, '--', 'cat')
  equal(spawnSync(command, args, { ...options, input: 'hello\n' }).stdout, 'hello\n')
})

test.needs(missing, 'a signal reaches the command, and its end shows as 128+n', async () => {
  const run = node.spawnCli(
    UID,
    'run',
    node.image,
    '--',
    'sh',
    '-c',
    'trap "echo got; exit 5" TERM; echo up; while :; do sleep 0.1; done',
  )
  let seen = ''
  run.stdout?.on('data', (text: Buffer) => {
    seen += text
  })
  const ended = new Promise<number | null>((resolve) => run.on('close', resolve))
  await until('the command', () => seen.includes('up'))
  run.kill('SIGTERM')
  equal(await ended, 5)
  equal(seen, 'up\ngot\n')
  equal(node.cliAs(UID, 'run', node.image, '--', 'sh', '-c', 'kill -KILL $$').status, 128 + 9)
})

test.needs(missing, 'mounts, workdir and env are those of srun', () => {
  const { stdout, stderr } = node.cliAs(
    UID,
    'run',
    node.image,
    '--mounts=/etc/hostname:/data/name:ro',
    '--workdir=/data',
    '--',
    'sh',
    '-c',
    'pwd; cat name',
  )
  equal(stderr, '')
  equal(stdout, `/data\n${readFileSync('/etc/hostname', 'utf8')}`)
})

test.needs(missing, 'the command has all variables of who calls berth, those of Node.js too', () => {
  const { options } = node.cliCommand(UID)
  const berth = [join(DIST, 'bin/berth'), 'run', node.image, '--', 'sh', '-c', 'echo $NODE_EXTRA_CA_CERTS']
  const env = { ...options.env, NODE_EXTRA_CA_CERTS: '/site/ca.pem' }
  const done = spawnSync('setpriv', [`--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', ...berth], {
    ...options,
    env,
  })
  equal(done.stdout, '/site/ca.pem\n', done.stderr)
})

test.needs(missing, "without a command the image's own runs, here a shell", () => {
  const { command, args, options } = node.cliCommand(UID, 'run', node.image)
  equal(spawnSync(command, args, { ...options, input: 'cat /etc/inside\n' }).stdout, 'berth-test\n')
})

test.needs(missing, 'when berth run is killed its container goes with its lease', async () => {
  const seconds = String(100_000 + process.pid)
  const run = node.spawnCli(UID, 'run', node.image, '--', 'sleep', seconds)
  const sleepers = () => spawnSync('pgrep', ['-fx', `sleep ${seconds}`], { encoding: 'utf8' }).stdout
  await until('the command', () => sleepers() !== '')
  run.kill('SIGKILL')
  await until('its release', () => node.leases().length === 0)
  await until('its end', () => sleepers() === '')
})

test.needs(missing, 'what ps shows of a berth run is what exec takes', async () => {
  const runs = ['one', 'two'].map((word) =>
    node.spawnCli(UID, 'run', node.image, '--', 'sh', '-c', `echo ${word} > /tmp/mine; exec sleep 1000`),
  )
  const rows = () => node.cliAs(UID, 'ps').stdout.trim().split('\n').slice(1)
  await until('both', () => rows().filter((row) => /^run\.\d+ .* running /.test(row)).length === 2)
  const shown = rows().map((row) => row.split(' ')[0] ?? '')
  const seen = () => shown.map((word) => node.cliAs(UID, 'exec', word, '--', 'cat', '/tmp/mine').stdout)
  await until('what they write', () => seen().every((text) => text !== ''))
  deepEqual(seen().sort(), ['one\n', 'two\n'])
  // Nobody else's, and not after its end.
  match(node.cliAs(OTHER_UID, 'exec', shown[0] ?? '', '--', 'true').stderr, /BERTH_ENAMEIDLE/)
  for (const run of runs) run.kill('SIGKILL')
  await until('their release', () => node.leases().length === 0)
  match(node.cliAs(UID, 'exec', shown[0] ?? '', '--', 'true').stderr, /BERTH_ENAMEIDLE/)
})

test.needs(missing, 'explain prints a plan with origins and runs nothing', () => {
  const { stdout, status } = node.cliAs(UID, 'explain', node.image, '--mounts=/etc/hostname:/name')
  equal(status, 0)
  const plan = JSON.parse(stdout)
  const mount = plan.berth.mounts.find(({ destination }: { destination: string }) => destination === '/name')
  match(mount.origin, /container-mounts/)
})

test.needs(missing, 'doctor --json says what it found and exits 3 when something failed', () => {
  const { stdout, status } = node.cli('doctor', '--json')
  const findings: { check: string; state: string; fix?: string }[] = JSON.parse(stdout)
  equal(findings.find(({ check }) => check === 'worker')?.state, 'ok')
  for (const { state, fix } of findings) equal(state === 'ok' || fix !== undefined, true)
  equal(status, findings.some(({ state }) => state === 'fail') ? 3 : 0)
})

test.needs(missing, 'an idle worker is small', async () => {
  const pid = await node.workerPid()
  const rssMib = () =>
    Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
  // V8 gives memory back some seconds after the last work.
  await until(`less than ${RSS_MIB_MAX} MiB`, () => rssMib() < RSS_MIB_MAX)
})

test.run()
