// SPDX-License-Identifier: Apache-2.0
/** Files as the root worker handles them: opened as the user, trusted only when root's alone, published whole. */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { NativeError } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { mountsBut } from '../mounts.js'
import { loadNative, missing, until } from '../ns/lab.js'

const test = suite('files')
const needs = missing()
const native = needs === undefined ? loadNative() : (undefined as never)
const folder = fs.mkdtempSync(join(tmpdir(), 'berth-files-'))
const path = (name: string) => join(folder, name)
const USER = { uid: 12_345, gid: 12_345, gids: [4_242] }

test.before(() => fs.chmodSync(folder, 0o755))
test.after(() => fs.rmSync(folder, { recursive: true, force: true }))

function openAs(file: string, more: { cwd?: string; gids?: number[]; flags?: number } = {}): Promise<number> {
  return native.openAs({ path: file, cwd: '/', ...USER, flags: fs.constants.O_RDONLY, ...more })
}

function code(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'worked',
    (error: NativeError) => error.code,
  )
}

test.needs(needs, 'a file is opened with the rights of the user and its groups, not of root', async () => {
  fs.writeFileSync(path('private'), 'x', { mode: 0o600 })
  fs.writeFileSync(path('group'), 'for the group', { mode: 0o640 })
  fs.chownSync(path('group'), 0, 4_242)
  assert.is(await code(openAs(path('private'))), 'EACCES')
  assert.is(await code(openAs(path('group'), { gids: [] })), 'EACCES')
  const fd = await openAs('group', { cwd: folder })
  assert.is(fs.readFileSync(fd, 'utf8'), 'for the group')
  fs.closeSync(fd)
  assert.is(await code(openAs(path('absent'))), 'ENOENT')
})

test.needs(needs, 'files made for the user belong to the user', async () => {
  fs.mkdirSync(path('home'))
  fs.chownSync(path('home'), USER.uid, USER.gid)
  const flags = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL
  fs.closeSync(await openAs('saved', { cwd: path('home'), flags }))
  assert.is(fs.statSync(path('home/saved')).uid, USER.uid)
  assert.is(await code(openAs('saved', { cwd: folder, flags })), 'EACCES')
})

test.needs(needs, "the worker's own descriptors can't be opened by name", async () => {
  const fd = fs.openSync(path('private'), 'r')
  for (const name of [`/proc/self/fd/${fd}`, `/proc/thread-self/fd/${fd}`, '/proc/self/root/etc/shadow']) {
    assert.ok(['ELOOP', 'EACCES'].includes(await code(openAs(name))), name)
  }
  fs.closeSync(fd)
})

test.needs(needs, 'a pipe without a writer does not block', async () => {
  execFileSync('mkfifo', ['-m', '666', path('pipe')])
  fs.closeSync(await openAs(path('pipe')))
})

test.needs(needs, 'many at once, and afterwards the worker still is root', async () => {
  const all = await Promise.all(Array.from({ length: 40 }, () => openAs(path('group'))))
  for (const fd of all) fs.closeSync(fd)
  assert.is(fs.readFileSync(path('private'), 'utf8'), 'x')
  const children = () => fs.readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim()
  await until(() => children() === '', 'children are reaped')
})

async function onlyRoot(name: string): Promise<boolean> {
  const fd = fs.openSync(name, 'r')
  try {
    return await native.onlyRootWrote(fd)
  } finally {
    fs.closeSync(fd)
  }
}

test.needs(needs, "a file of root's below directories of root's is trusted", async () => {
  assert.is(await onlyRoot('/etc/passwd'), true)
})

test.needs(needs, 'a file that others could have written or swapped is not', async () => {
  const room = fs.mkdtempSync('/var/lib/berth-test-')
  try {
    const file = join(room, 'image')
    fs.writeFileSync(file, 'x', { mode: 0o644 })
    fs.chmodSync(room, 0o755)
    assert.is(await onlyRoot(file), true)
    fs.chmodSync(file, 0o664)
    assert.is(await onlyRoot(file), false, 'group-writable')
    fs.chmodSync(file, 0o644)
    fs.chownSync(file, USER.uid, 0)
    assert.is(await onlyRoot(file), false, "a user's")
    fs.chownSync(file, 0, 0)
    fs.chmodSync(room, 0o1777)
    assert.is(await onlyRoot(file), false, 'in a directory for all')
    fs.chmodSync(room, 0o755)
    const fd = fs.openSync(file, 'r')
    fs.rmSync(file)
    assert.is(await native.onlyRootWrote(fd), false, 'deleted')
    fs.closeSync(fd)
  } finally {
    fs.rmSync(room, { recursive: true })
  }
})

test.needs(needs, 'a temporary file has no name until it is published, whole and at once', async () => {
  const { fd, name } = native.openTemporary(folder)
  const before = fs.readdirSync(folder)
  fs.writeSync(fd, 'complete')
  assert.is(fs.fstatSync(fd).mode & 0o777, 0o600)
  await native.publish(fd, path('published'), name)
  fs.closeSync(fd)
  assert.is(fs.readFileSync(path('published'), 'utf8'), 'complete')
  const added = fs.readdirSync(folder).filter((entry) => !before.includes(entry))
  assert.equal(added, ['published'])
})

test.needs(needs, 'publishing replaces nothing: who comes second finds the first', async () => {
  for (const text of ['first', 'second']) {
    const { fd, name } = native.openTemporary(folder)
    fs.writeSync(fd, text)
    await native.publish(fd, path('once'), name)
    fs.closeSync(fd)
  }
  assert.is(fs.readFileSync(path('once'), 'utf8'), 'first')
})

test.needs(needs, 'a named temporary file is published and gone', async () => {
  const fd = fs.openSync(path('.tmp-1'), 'wx+')
  await native.publish(fd, path('from-named'), path('.tmp-1'))
  fs.closeSync(fd)
  assert.ok(fs.existsSync(path('from-named')))
  assert.not(fs.existsSync(path('.tmp-1')))
})

test.needs(needs, 'failures of the store carry call and path', async () => {
  assert.throws(
    () => native.openTemporary('/no/such/store'),
    (error: NativeError) => error.code === 'ENOENT' && error.path === '/no/such/store',
  )
  const { fd, name } = native.openTemporary(folder)
  assert.is(await code(native.publish(fd, '/no/such/store/x', name)), 'ENOENT')
  fs.closeSync(fd)
})

test.needs(needs, 'accounts are found by uid and name; unknown ones are undefined', async () => {
  const root = await native.userByUid(0)
  assert.is(root?.name, 'root')
  assert.equal(await native.userByName('root'), root)
  assert.is(await native.userByUid(3_999_999_999), undefined)
  assert.is(await native.userByName('no-such-user'), undefined)
  assert.is(await native.groupName(0), 'root')
  assert.is(await native.groupName(3_999_999_999), undefined)
})

test.needs(needs, 'kernel features are found and leave nothing', async () => {
  const before = mountsBut(folder)
  const features = native.kernelFeatures()
  assert.is(features.release, fs.readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim())
  assert.type(features.squashfsIdmap, 'boolean')
  assert.ok(!features.squashfsIdmap || (features.squashfs && features.overlay && features.userNamespaces))
  const loops = () => execFileSync('losetup', ['-a'], { encoding: 'utf8' })
  await until(() => !loops().includes('berth-probe'), 'the loop device is free')
  assert.is(mountsBut(folder), before)
})

test.run()
