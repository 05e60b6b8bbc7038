// SPDX-License-Identifier: Apache-2.0
/** Unix sockets on libuv's loop: bytes, descriptors, credentials, pressure, ends. */
import { spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { connect as connectNet } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { Native, NativeError, NativeListener, NativeSocket } from '../../../src/native.js'
import { suite } from '../../suite.js'

const DIST = process.env.BERTH_TEST_DIST ?? join(import.meta.dirname, '../../../dist')
const ADDON = join(DIST, 'berth.node')
const needs = existsSync(ADDON) ? undefined : 'needs npm run build'
const native = (needs === undefined ? createRequire(import.meta.url)(ADDON) : undefined) as Native
const folder = mkdtempSync(join(tmpdir(), 'berth-ipc-'))
const test = suite('sockets')

test.after(() => rmSync(folder, { recursive: true, force: true }))

/** Collects what a socket gets and lets tests wait for it. */
class Ear {
  bytes = Buffer.alloc(0)
  fds: number[] = []
  ends = 0
  error: NativeError | undefined
  private wake: () => void = () => undefined

  data(bytes: Buffer, fds: number[]): void {
    this.bytes = Buffer.concat([this.bytes, bytes])
    this.fds.push(...fds)
    this.wake()
  }

  closed(error?: NativeError): void {
    this.ends++
    this.error = error
    this.wake()
  }

  async until(condition: (ear: Ear) => boolean): Promise<void> {
    while (!condition(this)) await new Promise<void>((resolve) => (this.wake = resolve))
  }
}

interface Pair {
  client: NativeSocket
  clientEar: Ear
  server: NativeSocket
  serverEar: Ear
  listener: NativeListener
}

let number = 0
const freshPath = () => join(folder, `socket${number++}`)

async function pair(): Promise<Pair> {
  const path = freshPath()
  const [clientEar, serverEar] = [new Ear(), new Ear()]
  let take: (socket: NativeSocket) => void = () => undefined
  const accepted = new Promise<NativeSocket>((resolve) => (take = resolve))
  const listener = native.listen(path, 0o666, (socket) => {
    take(socket)
    return serverEar
  })
  const client = native.connect(path, clientEar)
  const server = await accepted
  return { client, clientEar, server, serverEar, listener }
}

function end({ client, server, listener }: Pair): void {
  client.close()
  server.close()
  listener.close()
}

test.needs(needs, 'both sides know who the other is', async () => {
  const both = await pair()
  const me = { pid: process.pid, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 }
  assert.equal(both.server.peer, me)
  assert.equal(both.client.peer, me)
  end(both)
})

test.needs(needs, 'bytes go both ways, in order, however many', async () => {
  const both = await pair()
  const sent = Buffer.alloc(3_000_000, 'abcdefghijk')
  for (let i = 0; i < sent.length; i += 100_000) both.client.send(sent.subarray(i, i + 100_000))
  both.server.send(Buffer.from('answer'))
  await both.serverEar.until((ear) => ear.bytes.length === sent.length)
  await both.clientEar.until((ear) => ear.bytes.length === 6)
  assert.ok(both.serverEar.bytes.equals(sent))
  end(both)
})

test.needs(
  needs,
  'descriptors arrive with the first byte, open and CLOEXEC; the sender keeps its own',
  async () => {
    const both = await pair()
    const file = join(folder, 'content')
    writeFileSync(file, 'through a socket')
    const fd = openSync(file, 'r')
    both.client.send(Buffer.from('x'), [fd, fd])
    closeSync(fd)
    await both.serverEar.until((ear) => ear.bytes.length === 1)
    assert.is(both.serverEar.fds.length, 2)
    const [got = -1, other = -1] = both.serverEar.fds
    assert.is(readFileSync(got, 'utf8'), 'through a socket')
    const flags = readFileSync(`/proc/self/fdinfo/${other}`, 'utf8').match(/flags:\s+(\d+)/)?.[1]
    assert.ok((Number.parseInt(flags ?? '0', 8) & 0o2000000) !== 0)
    closeSync(got)
    closeSync(other)
    end(both)
  },
)

test.needs(needs, 'descriptors also survive when the queue was full at the time', async () => {
  const both = await pair()
  both.server.pause()
  const big = Buffer.alloc(4_000_000)
  both.client.send(big)
  const fd = openSync('/dev/null', 'r')
  both.client.send(Buffer.from('y'), [fd])
  closeSync(fd)
  both.server.resume()
  await both.serverEar.until((ear) => ear.bytes.length === big.length + 1)
  assert.is(both.serverEar.fds.length, 1)
  assert.is(fstatSync(both.serverEar.fds[0] ?? -1).rdev, statSync('/dev/null').rdev)
  closeSync(both.serverEar.fds[0] ?? -1)
  end(both)
})

test.needs(needs, 'pause stops delivery, resume brings everything', async () => {
  const both = await pair()
  both.server.pause()
  both.client.send(Buffer.from('later'))
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.is(both.serverEar.bytes.length, 0)
  both.server.resume()
  await both.serverEar.until((ear) => ear.bytes.length === 5)
  end(both)
})

test.needs(needs, 'end() flushes what is queued, then both sides are told once', async () => {
  const both = await pair()
  both.client.send(Buffer.alloc(2_000_000))
  both.client.end()
  await both.serverEar.until((ear) => ear.ends === 1)
  await both.clientEar.until((ear) => ear.ends === 1)
  assert.is(both.serverEar.bytes.length, 2_000_000)
  assert.is(both.serverEar.error, undefined)
  both.client.close()
  both.server.close()
  both.client.send(Buffer.from('into the void'))
  both.listener.close()
  await new Promise((resolve) => setTimeout(resolve, 10))
  assert.is(both.clientEar.ends, 1)
  assert.is(both.serverEar.ends, 1)
})

test.needs(needs, 'what the peer said before it closed is read although it takes nothing more', async () => {
  const both = await pair()
  both.client.pause()
  both.server.send(Buffer.from('last words'))
  both.server.end()
  await both.serverEar.until((ear) => ear.ends === 1)
  both.client.send(Buffer.from('nobody listens'))
  both.client.resume()
  await both.clientEar.until((ear) => ear.ends === 1)
  assert.is(both.clientEar.bytes.toString(), 'last words')
  end(both)
})

test.needs(needs, 'a peer that never reads is dropped before it fills the memory', async () => {
  const both = await pair()
  both.server.pause()
  const piece = Buffer.alloc(1 << 20)
  for (let i = 0; i < 20; i++) both.client.send(piece)
  await both.clientEar.until((ear) => ear.ends === 1)
  assert.is(both.clientEar.error?.code, 'ENOBUFS')
  end(both)
})

test.needs(needs, 'a flood of descriptors ends the connection and leaves none open', async () => {
  const path = freshPath()
  const ear = new Ear()
  const listener = native.listen(path, 0o666, () => ear)
  const before = readdirSync('/proc/self/fd').length
  const flood = `import socket, os
s = socket.socket(socket.AF_UNIX); s.connect(${JSON.stringify(path)})
fd = os.open("/dev/null", os.O_RDONLY)
socket.send_fds(s, [b"x"], [fd] * 200)
s.recv(1)`
  const child = spawn('python3', ['-c', flood], { stdio: 'ignore' })
  await ear.until(() => ear.ends === 1)
  assert.is(ear.error?.code, 'EMSGSIZE')
  assert.equal(ear.fds, [])
  assert.ok(readdirSync('/proc/self/fd').length <= before + 2)
  child.kill('SIGKILL')
  listener.close()
})

test.needs(needs, 'the socket has the mode asked for, and replaces a stale one', async () => {
  const path = freshPath()
  writeFileSync(path, 'left behind')
  const listener = native.listen(path, 0o600, () => new Ear())
  assert.is(statSync(path).mode & 0o777, 0o600)
  assert.equal(
    readdirSync(folder).filter((name) => name.includes('.new')),
    [],
  )
  listener.close()
})

test.needs(needs, 'failures say what and where', () => {
  const failing = (action: () => void): NativeError => {
    try {
      action()
    } catch (error) {
      return error as NativeError
    }
    return assert.unreachable() as never
  }
  const ear = new Ear()
  const absent = failing(() => native.connect('/no/such/socket', ear))
  assert.is(`${absent.code} ${absent.syscall} ${absent.path}`, 'ENOENT connect /no/such/socket')
  assert.is(failing(() => native.listen('/no/such/socket', 0o600, () => ear)).code, 'ENOENT')
  assert.is(failing(() => native.listen(`/tmp/${'x'.repeat(150)}`, 0o600, () => ear)).code, 'ENAMETOOLONG')
  const file = openSync('/dev/null', 'r')
  assert.is(failing(() => native.adopt(file, ear)).code, 'ENOTSOCK')
})

test.needs(needs, 'an inherited listening socket serves', async () => {
  const path = freshPath()
  const script = `
    const n = require(${JSON.stringify(ADDON)})
    const l = n.listenFd(3, (s) => ({ data(b) { s.send(b); s.end(); l.close() }, closed() {} }))`
  const activator = `import os, socket, sys
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1] + '.early'); s.listen()
os.rename(sys.argv[1] + '.early', sys.argv[1]); os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
os.execv(sys.argv[2], sys.argv[2:])`
  const args = ['-c', activator, path, process.execPath, '-e', script]
  const child = spawn('python3', args, { stdio: ['ignore', 'inherit', 'inherit'] })
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 5))
  const answer = await new Promise((resolve) => {
    const client = connectNet(path, () => client.write('echo'))
    client.on('data', (bytes) => resolve(bytes.toString()))
    client.on('error', resolve)
  })
  assert.is(answer, 'echo')
  await new Promise((resolve) => child.on('exit', resolve))
})

test.needs(needs, 'a socket pair speaks to a child process', async () => {
  const [mine, childs] = native.socketPair()
  const ear = new Ear()
  const child = spawn('cat', [], { stdio: [childs, childs, 'inherit'] })
  native.closeFd(childs)
  const socket = native.adopt(mine, ear)
  socket.send(Buffer.from('to and fro'))
  await ear.until(() => ear.bytes.length === 10)
  assert.is(socket.peer.pid, process.pid)
  socket.close()
  await new Promise((resolve) => child.on('exit', resolve))
})

test.needs(needs, 'unref lets the process end, and open sockets do not crash its end', () => {
  const path = freshPath()
  const script = `
    const n = require(${JSON.stringify(ADDON)})
    const l = n.listen(${JSON.stringify(path)}, 0o600, (s) => { s.unref(); return { data() {}, closed() {} } })
    const c = n.connect(${JSON.stringify(path)}, { data() {}, closed() {} })
    c.send(Buffer.from('x')); n.watchProcess(1, () => {}).unref()
    setTimeout(() => { l.unref(); c.unref() }, 20)`
  const done = spawnSync(process.execPath, ['-e', script], { timeout: 60_000, encoding: 'utf8' })
  assert.is(done.status, 0, done.stderr)
})

test.needs(needs, 'an exception in a handler is an uncaught one, as anywhere in Node', () => {
  const path = freshPath()
  const script = `
    const n = require(${JSON.stringify(ADDON)})
    process.on('uncaughtException', (e) => { console.log(e.message); process.exit(3) })
    n.listen(${JSON.stringify(path)}, 0o600, () => ({ data() { throw new Error('mine') }, closed() {} }))
    n.connect(${JSON.stringify(path)}, { data() {}, closed() {} }).send(Buffer.from('x'))`
  const done = spawnSync(process.execPath, ['-e', script], { timeout: 60_000, encoding: 'utf8' })
  assert.is(done.status, 3)
  assert.is(done.stdout, 'mine\n')
})

test.needs(needs, 'a full descriptor table drops connections and serves again after', () => {
  const path = freshPath()
  const script = `
    const n = require(${JSON.stringify(ADDON)}), fs = require('fs')
    let served = 0
    n.listen(${JSON.stringify(path)}, 0o600, (s) => { served++; return { data(b) { s.send(b) }, closed() {} } }).unref()
    const held = []
    try { for (;;) held.push(fs.openSync('/dev/null')) } catch {}
    fs.closeSync(held.pop())
    const dropped = n.connect(${JSON.stringify(path)}, { data() {}, closed() {
      for (const fd of held) fs.closeSync(fd)
      const c = n.connect(${JSON.stringify(path)}, { data() { console.log('served', served); c.close() }, closed() {} })
      c.send(Buffer.from('x'))
    } })`
  const command = `ulimit -n 100; exec ${process.execPath} -e "$SCRIPT"`
  const env = { ...process.env, SCRIPT: script }
  const done = spawnSync('bash', ['-c', command], { timeout: 60_000, encoding: 'utf8', env })
  assert.is(done.stdout, 'served 1\n', done.stderr)
})

test.needs(needs, 'the end of a process is told once, and a process that is gone is ESRCH', async () => {
  const child = spawn('sleep', ['60'])
  let ends = 0
  const ended = new Promise<void>((resolve) => {
    native.watchProcess(child.pid ?? 0, () => {
      ends++
      resolve()
    })
  })
  assert.ok(native.processStart(child.pid ?? 0) > 0)
  child.kill('SIGKILL')
  await ended
  await new Promise((resolve) => setTimeout(resolve, 10))
  assert.is(ends, 1)
  assert.is(native.processStart(child.pid ?? 0), 0)
  assert.throws(
    () => native.watchProcess(child.pid ?? 0, () => undefined),
    (error: NativeError) => error.code === 'ESRCH',
  )
})

test.needs(needs, 'many connections at once are all served', async () => {
  const path = freshPath()
  let bytes = 0
  const listener = native.listen(path, 0o666, (socket) => ({
    data(got) {
      bytes += got.length
      socket.send(got)
    },
    closed: () => undefined,
  }))
  const ears = Array.from({ length: 300 }, () => new Ear())
  const clients = ears.map((ear) => native.connect(path, ear))
  for (const client of clients) client.send(Buffer.from('hello'))
  await Promise.all(ears.map((ear) => ear.until((one) => one.bytes.length === 5)))
  for (const client of clients) client.close()
  await Promise.all(ears.map((ear) => ear.until((one) => one.ends === 1)))
  assert.is(bytes, 1500)
  listener.close()
})

test.run()
