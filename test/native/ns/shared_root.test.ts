// SPDX-License-Identifier: Apache-2.0
/** A writable root on disk: kept between namespaces, used by several at once through one overlay. */
import { fstatSync, mkdirSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import type { BuiltNamespace, NativeError } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { Lab, missing, PROC, tmpfs, USER } from './lab.js'

const test = suite('a root on disk')
const lab = new Lab()
const absent = missing()
const roots: number[] = []

test.before(async () => {
  if (absent === undefined) await lab.start()
})
test.after(() => lab.stop())

function newDirectory(name: string): string {
  const path = lab.path(name)
  mkdirSync(path, { mode: 0o700 })
  return path
}

async function keep(upperDir: string): Promise<{ built: BuiltNamespace; rootNs: number }> {
  const built = await lab.build([PROC, tmpfs('/tmp')], { upperDir, keepRoot: true })
  if (built.rootNs === undefined) throw new Error('no rootNs')
  roots.push(built.rootNs)
  return { built, rootNs: built.rootNs }
}

function dropRoots(): void {
  for (const fd of roots.splice(0)) lab.native.closeFd(fd)
}

test.needs(absent, 'the user writes to it, and the next namespace on it sees that', async () => {
  const upperDir = newDirectory('kept')
  const first = await lab.run([PROC], 'echo more > /etc/issue; mkdir /new; stat -c %u /new /', { upperDir })
  assert.equal(first, { status: 0, stdout: `${USER.uid}\n${USER.uid}\n`, stderr: '' })
  assert.is(statSync(`${upperDir}/upper/new`).uid, USER.uid)
  const second = await lab.run([PROC], 'cat /etc/issue; ls -d /new; cat /etc/secret', { upperDir })
  assert.equal(second, { status: 0, stdout: 'more\n/new\nx', stderr: '' })
})

test.needs(absent, 'the kernel refuses a second overlay on it while the first lives', async () => {
  const upperDir = newDirectory('twice')
  const { built } = await keep(upperDir)
  let refused: NativeError | undefined
  await lab.build([], { upperDir }).catch((error: NativeError) => {
    refused = error
  })
  assert.is(refused?.code, 'EBUSY')
  lab.close(built)
  dropRoots()
  // The builder of the first is reaped, and the kernel lets go of its mounts, a moment later.
  const end = Date.now() + 60_000
  for (;;) {
    const done = await lab.run([PROC], 'true', { upperDir }).catch(() => undefined)
    if (done !== undefined) return assert.is(done.status, 0)
    assert.ok(Date.now() < end, 'it is free again')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
})

test.needs(absent, 'a second namespace on the same root: one file system, mounts of its own', async () => {
  const { built, rootNs } = await keep(newDirectory('shared'))
  lab.enter(built, 'echo first > /seen; echo hidden > /tmp/private')
  const other = await lab.build([PROC], { rootNs })
  const seen = lab.enter(other, 'cat /seen; ls /tmp; echo second >> /seen')
  assert.equal(seen, { status: 0, stdout: 'first\n', stderr: '' })
  assert.is(lab.enter(built, 'cat /seen').stdout, 'first\nsecond\n')
  const device = 'grep " / / " /proc/self/mountinfo | while read a b c rest; do echo $c; done'
  assert.is(lab.enter(other, device).stdout, lab.enter(built, device).stdout)
  lab.close(other)
  dropRoots()
})

test.needs(absent, 'one may be read-only beside a writable one', async () => {
  const { built, rootNs } = await keep(newDirectory('mixed'))
  const readonly = await lab.build([PROC], { rootNs, readonly: true })
  assert.match(lab.enter(readonly, 'touch /no').stderr, /Read-only file system/)
  assert.is(lab.enter(built, 'touch /yes').status, 0)
  lab.close(readonly)
  dropRoots()
})

test.needs(absent, 'it lives on in the kept namespace when the first one has gone', async () => {
  const { built, rootNs } = await keep(newDirectory('outlived'))
  lab.enter(built, 'echo still > /there')
  lab.close(built)
  assert.is((await lab.run([PROC], 'cat /there', { rootNs })).stdout, 'still\n')
  dropRoots()
})

test.needs(absent, 'the file of a step’s disk is the user’s, and has all its bytes at once', async () => {
  const { fd } = lab.native.openTemporary(lab.folder)
  await lab.native.reserveFor(fd, { uid: USER.uid, bytes: 8 << 20 })
  const { uid, size, blocks } = fstatSync(fd)
  lab.native.closeFd(fd)
  assert.is(uid, USER.uid)
  assert.is(size, 8 << 20)
  assert.ok(blocks * 512 >= size)
})

test.run()
