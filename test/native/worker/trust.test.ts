// SPDX-License-Identifier: Apache-2.0
import { equal, match } from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { encodeFrame, Tag, Type } from '../../../src/worker/frame.js'
import { CONNECTIONS_PER_USER_MAX } from '../../../src/worker/limits.js'
import { suite } from '../../suite.js'
import { missingForNode, TestNode, talk } from './node.js'
import { DIST, OTHER_UID, UID } from './stand_in.js'
import { until } from './until.js'

const test = suite('who may say what to the worker')
const missing = missingForNode()
let node: TestNode

test.before(() => {
  if (missing !== undefined) return
  node = new TestNode()
  node.startKeeper()
})
test.after(async () => {
  if (missing === undefined) equal((await node.stop()).join('\n'), '')
})

/** Sends a frame as that user and prints what comes back. */
function as(uid: number, bytes: Uint8Array): string {
  const script = `const c=require('net').connect(${JSON.stringify(node.socket)},()=>c.write(Buffer.from('${Buffer.from(bytes).toString('hex')}','hex')));c.on('data',d=>process.stdout.write(d));c.on('error',()=>{});c.on('close',()=>process.exit(0))`
  const { stdout } = spawnSync(
    'setpriv',
    [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', join(DIST, 'node'), '-e', script],
    { encoding: 'utf8', timeout: 60_000 },
  )
  return stdout
}

const HANDLE = Buffer.alloc(16, 7)

test.needs(missing, 'a user can register no step, announce no task, start no prefetch', () => {
  for (const type of [Type.REGISTER, Type.TASK, Type.PREFETCH]) {
    match(as(UID, encodeFrame(type, [[Tag.HANDLE, HANDLE]])), /BERTH_EROOT/)
  }
  equal(node.leases().length, 0)
})

test.needs(missing, 'RELEASE without a step is refused', () => {
  equal(as(0, encodeFrame(Type.RELEASE)), '')
})

test.needs(missing, 'a launcher that nobody announced is refused and runs nothing', () => {
  const { status, stderr, stdout } = spawnSync(join(DIST, 'berth-exec'), ['echo', 'ran'], {
    encoding: 'utf8',
    env: { BERTH_SOCKET: node.socket },
  })
  equal(status, 125)
  equal(stdout, '')
  match(stderr, /BERTH_ETASK/)
})

test.needs(missing, "another user's ticket opens nothing, one's own does", async () => {
  const run = node.spawnCli(UID, 'run', node.image, '--', 'sleep', '1000')
  await until('the ticket', () => node.leases().length === 1)
  const ticket = (node.leases()[0] ?? '').replace('.json', '')
  const hello = encodeFrame(Type.HELLO, [[Tag.TICKET, Buffer.from(ticket, 'hex')]])
  match(as(OTHER_UID, hello), /BERTH_ETASK/)
  match(as(0, hello), /BERTH_ETASK/)
  equal(as(UID, hello).includes('BERTH_ETASK'), false)
  run.kill('SIGTERM')
  await until('its release', () => node.leases().length === 0)
})

test.needs(missing, 'a second worker started by hand ends, and leaves the first one its socket', async () => {
  equal(node.cli('ps').status, 0)
  const pid = await node.workerPid()
  const argv = [join(DIST, 'bin/worker.js'), `--runtime-dir=${node.runtime}`, `--store=${node.store}`]
  const second = spawnSync(join(DIST, 'node'), argv, { encoding: 'utf8', timeout: 30_000 })
  equal(second.status, 1, second.stderr)
  match(second.stderr, /another one listens in .*\/run\n/)
  equal(node.cliAs(UID, 'run', node.image, '--', 'echo', 'ran').stdout, 'ran\n')
  equal(await node.workerPid(), pid)
})

test.needs(missing, 'a user sees no steps of others, and removes no images', async () => {
  const step = node.step({ command: ['sleep', '1000'] })
  step.start(0)
  await until('the step', () => JSON.parse(node.cli('ps', '--json').stdout).length === 1)
  equal(JSON.parse(node.cliAs(UID, 'ps', '--json').stdout).length, 1)
  equal(node.cliAs(OTHER_UID, 'ps', '--json').stdout.trim(), '[]')
  match(node.cliAs(UID, 'gc').stderr, /BERTH_EROOT/)
  step.kill()
})

test.needs(missing, 'garbage ends its own connection only', async () => {
  const pid = await node.workerPid()
  const frames = [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.alloc(64, 255),
    encodeFrame(Type.JOIN),
    encodeFrame(Type.TASK, [[Tag.HANDLE, Buffer.from('short')]]),
    encodeFrame(Type.REGISTER, [[Tag.HANDLE, HANDLE]]),
    Buffer.concat([encodeFrame(Type.CALL, [[Tag.NAME, 'ps']]), encodeFrame(Type.CALL, [[Tag.NAME, 'ps']])]),
  ]
  for (const bytes of frames) await talk(node.socket, bytes)
  equal(await node.workerPid(), pid)
  equal(node.leases().length, 0)
})

test.needs(missing, 'a frame full of one word is answered, and the worker goes on', async () => {
  const pid = await node.workerPid()
  const word = 'a'.repeat((1 << 20) - 64)
  match((await talk(node.socket, encodeFrame(Type.CALL, [[Tag.NAME, word]]))).toString(), /BERTH_ECALL/)
  match((await talk(node.socket, encodeFrame(Type.CALL, [[Tag.NAME, 'ps']]))).toString(), /\[\]/)
  equal(await node.workerPid(), pid)
})

test.needs(missing, "one user's frames in part do not fill the worker, and hold up nobody else", async () => {
  const pid = await node.workerPid()
  const script = `
    const part = Buffer.alloc(1000000); part.writeUInt32LE(1 << 20, 0)
    for (let i = 0; i < 300; i++) {
      const c = require('net').connect(${JSON.stringify(node.socket)}, () => c.write(part))
      c.on('error', () => {}).on('close', () => process.stdout.write('.'))
    }`
  const become = [`--reuid=${UID}`, `--regid=${UID}`, '--clear-groups', join(DIST, 'node'), '-e', script]
  const flood = spawn('setpriv', become, { stdio: ['ignore', 'pipe', 'inherit'] })
  let closed = 0
  flood.stdout.on('data', (dots: Buffer) => {
    closed += dots.length
  })
  await until('all but what one user may have', () => closed >= 300 - 17)
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const rss_mib = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
  equal(rss_mib < 250, true, `${rss_mib} MiB`)
  match(as(OTHER_UID, encodeFrame(Type.CALL, [[Tag.NAME, 'ps']])), /\[\]/)
  flood.kill('SIGKILL')
  equal(await node.workerPid(), pid)
})

/** CALL ps as that user, with a descriptor or without. */
function askWith(uid: number, fds: string): string {
  const frame = encodeFrame(Type.CALL, [[Tag.NAME, 'ps']]).toString('hex')
  const script = `const n={exports:{}};process.dlopen(n,${JSON.stringify(join(DIST, 'berth.node'))});const s=n.exports.connect(${JSON.stringify(node.socket)},{data:b=>process.stdout.write(b),closed:()=>process.exit(0)});s.send(Buffer.from('${frame}','hex'),${fds})`
  const become = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', join(DIST, 'node'), '-e', script]
  return spawnSync('setpriv', become, { encoding: 'utf8', timeout: 60_000 }).stdout
}

test.needs(missing, 'no descriptor of a user comes into the worker', () => {
  match(askWith(UID, '[]'), /\[\]/)
  equal(askWith(UID, '[0]'), '')
  match(askWith(0, '[0]'), /\[\]/)
})

test.needs(missing, 'leases are for root, the socket is for all', () => {
  equal(statSync(join(node.runtime, 'steps')).mode & 0o777, 0o700)
  equal(statSync(node.store).mode & 0o777, 0o700)
  equal(statSync(node.socket).mode & 0o777, 0o666)
  equal(existsSync(join(node.runtime, 'worker.pid')), true)
})

test.needs(missing, 'a user whose connections are too many is told so, and others are served', async () => {
  const many = `let open = 0
      const next = () => require('node:net').connect(process.argv[1]).on('connect', () => {
        if (++open === ${CONNECTIONS_PER_USER_MAX}) process.stdout.write('open')
        else next()
      })
      next()`
  equal(node.cliAs(OTHER_UID, 'images').status, 0)
  const holder = spawn(process.execPath, ['-e', many, node.socket], { uid: UID, gid: UID })
  let said = ''
  holder.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  try {
    await until('its connections', () => said === 'open')
    const env = { ...node.environment(), BERTH_SOCKET: node.socket, SLURM_BERTH_ARGV0: 'true' }
    const launched = spawnSync(join(DIST, 'berth-exec'), [], { uid: UID, gid: UID, env, encoding: 'utf8' })
    equal(launched.status, 125)
    for (const { stderr } of [launched, node.cliAs(UID, 'images')]) {
      match(stderr, new RegExp(`^berth: error\\[BERTH_ECONNECTIONS\\]: 2048 connections of user ${UID} `))
      match(stderr, /\nhint: wait until some of your steps have started/)
    }
    equal(node.cliAs(OTHER_UID, 'images').status, 0)
  } finally {
    holder.kill()
  }
})

test.run()
