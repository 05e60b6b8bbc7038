// SPDX-License-Identifier: Apache-2.0
/** A user's FUSE server that stops answering holds up the one process that waits for it, and no thread of the worker. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { NativeError } from '../../../src/native.js'
import { type Access, openUserFile, readText } from '../../../src/store/access.js'
import { suite } from '../../suite.js'
import { loadNative, missing, until } from '../ns/lab.js'

const test = suite('fuse')
const needs = missing() ?? (fs.existsSync('/etc/fuse.conf') ? undefined : 'needs fuse3')
const native = needs === undefined ? loadNative() : (undefined as never)
const folder = fs.mkdtempSync(join(tmpdir(), 'berth-fuse-'))
const path = (name: string) => join(folder, name)
const USER = { uid: 12_345, gid: 12_345, gids: [] }
/** More than libuv has threads: were one of them waiting for each, nothing else would be answered. */
const WAITING = 8

/** In a mount namespace of its own, where users may let others see their file systems. */
const SERVE = `mknod -m 666 "$1/device-$2" c 10 229; mount --bind "$1/device-$2" /dev/fuse
  echo user_allow_other >"$1/conf"; mount --bind "$1/conf" /etc/fuse.conf
  exec setpriv --reuid "$2" --regid "$2" --clear-groups squashfuse -f -o "allow_other$3" "$1/image" "$1/at-$2"`

interface Served {
  server: ChildProcess
  /** Of the job that sees the file system. */
  access: Access & { mountNs: number }
  at: (name: string) => string
}

const running: Served[] = []

async function serve(uid: number, options = ''): Promise<Served> {
  const point = path(`at-${uid}`)
  fs.mkdirSync(point)
  fs.chownSync(point, uid, uid)
  const server = spawn('unshare', ['-m', 'sh', '-ec', SERVE, 'serve', folder, String(uid), options], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const mounts = () => fs.readFileSync(`/proc/${server.pid}/mountinfo`, 'utf8')
  await until(() => mounts().includes(` ${point} `), 'the file system is mounted')
  const mountNs = fs.openSync(`/proc/${server.pid}/ns/mnt`, 'r')
  const served = { server, access: { ...USER, cwd: '/', mountNs }, at: (name: string) => join(point, name) }
  running.push(served)
  return served
}

function open({ access }: Served, file: string): Promise<string> {
  return native
    .openAs({ ...access, path: file, flags: fs.constants.O_RDONLY })
    .then((fd) => {
      native.closeFd(fd)
      return 'opened'
    })
    .catch((error: NativeError) => error.code)
}

test.before(() => {
  if (needs !== undefined) return
  fs.chmodSync(folder, 0o755)
  fs.mkdirSync(path('tree'))
  for (const name of ['one', 'two']) fs.writeFileSync(path(`tree/${name}`), 'served')
  execFileSync('mksquashfs', [path('tree'), path('image'), '-quiet', '-no-progress'], { stdio: 'ignore' })
})

test.after(async () => {
  for (const { server, access } of running) {
    fs.closeSync(access.mountNs)
    server.kill('SIGKILL')
    await until(() => server.exitCode !== null || server.signalCode !== null, 'the server has ended')
  }
  fs.rmSync(folder, { recursive: true, force: true })
})

test.needs(needs, "a file that a user's server answers for is refused before it is opened", async () => {
  const served = await serve(65_534)
  const file = served.at('one')
  assert.is(await open(served, file), 'EREMOTE')
  const refused = await openUserFile(native, served.access, file).catch((error: Error) => error)
  assert.match(String(refused), /FUSE file system/)
  assert.is(await readText(native, served.access, file), undefined)
})

test.needs(needs, 'a server that does not answer holds up nobody else', async () => {
  const served = running[0] ?? (await serve(65_534))
  served.server.kill('SIGSTOP')
  await until(() => / T /.test(fs.readFileSync(`/proc/${served.server.pid}/stat`, 'utf8')), 'it is stopped')
  let answered = 0
  const held = Array.from({ length: WAITING }, (_, at) =>
    open(served, served.at(`absent-${at}`)).then((answer) => {
      answered++
      return answer
    }),
  )
  for (let turn = 0; turn < WAITING; turn++) {
    assert.is(await open(served, path('tree/one')), 'opened')
    assert.is(await readText(native, served.access, path('tree/one')), 'served')
  }
  assert.is(answered, 0)
  served.server.kill('SIGKILL')
  for (const answer of await Promise.all(held)) assert.not.equal(answer, 'opened')
})

test.needs(needs, "a user's server that is called like root's is refused as well", async () => {
  const served = await serve(1, ',fsname=user_id=0\\,')
  assert.match(fs.readFileSync(`/proc/${served.server.pid}/mountinfo`, 'utf8'), / user_id=0, /)
  assert.is(await open(served, served.at('one')), 'EREMOTE')
})

test.needs(needs, "root's servers are what other file systems are", async () => {
  const served = await serve(0)
  assert.is(await open(served, served.at('one')), 'opened')
  assert.is(await readText(native, served.access, served.at('one')), 'served')
})

test.needs(needs, 'a text is a copy: of a regular file that is small enough', async () => {
  const copy = (file: string, copyMax: number) =>
    native.openAs({ path: file, ...USER, cwd: folder, flags: fs.constants.O_RDONLY, copyMax })
  const fd = await copy('tree/one', 6)
  assert.is(fs.readFileSync(`/proc/self/fd/${fd}`, 'utf8'), 'served')
  assert.match(fs.readlinkSync(`/proc/self/fd/${fd}`), /memfd/)
  fs.closeSync(fd)
  for (const [file, size] of [['tree/one', 5] as const, ['/dev/null', 5] as const])
    assert.is(await copy(file, size).catch((error: NativeError) => error.code), 'EFBIG')
})

test.run()
