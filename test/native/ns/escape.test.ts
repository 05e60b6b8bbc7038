// SPDX-License-Identifier: Apache-2.0
/** Nobody gets out: not by targets, not by links in images, not with every capability of the container's namespace. */
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import type { MountStep, NativeError } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { bind, DEV, file, Lab, missing, PROC, tmpfs } from './lab.js'

const test = suite('namespace escape')
const needs = missing()
const lab = new Lab()

test.before(async () => {
  if (needs === undefined) await lab.start()
})
test.after(() => lab.stop())

async function failure(steps: MountStep[]): Promise<NativeError> {
  return lab.build(steps).then(
    () => assert.unreachable('it was built'),
    (error: NativeError) => error,
  ) as Promise<NativeError>
}

for (const target of ['../home', '/../home', '/a/../../home', '/..']) {
  test.needs(needs, `a target that climbs out is "Invalid cross-device link": ${target}`, async () => {
    const error = await failure([bind('/usr', target)])
    assert.is(error.code, 'EXDEV')
    assert.match(error.message, 'Invalid cross-device link')
    assert.is(error.path, target)
    assert.is(error.step, 0)
  })
}

for (const target of ['/', 'relative', '', '/a/..']) {
  test.needs(needs, `the root itself or a relative path is no target: "${target}"`, async () => {
    assert.is((await failure([bind('/usr', target)])).code, 'EINVAL')
  })
}

test.needs(needs, 'a link of the image that climbs ends in the image', async () => {
  const inside = await lab.run([file('/climb/made', 'inside\n')], 'cat /etc/made')
  assert.is(inside.stdout, 'inside\n')
  assert.not(existsSync('/etc/made'))
})

test.needs(needs, 'a magic link of the image is not followed', async () => {
  const error = await failure([PROC, file('/magic/etc/made', 'x')])
  assert.is(error.code, 'ELOOP')
  assert.is(error.step, 1)
  assert.not(existsSync('/etc/made'))
})

test.needs(needs, 'links that lead in circles are an error', async () => {
  assert.is((await failure([file('/loop/x', 'x')])).code, 'ELOOP')
})

test.needs(needs, 'a file as directory on the way, or under a directory, is an error', async () => {
  assert.is((await failure([bind('/usr', '/etc/issue/sub')])).code, 'ENOTDIR')
  assert.is((await failure([bind('/usr', '/etc/issue')])).code, 'ENOTDIR')
  assert.is((await failure([bind('/etc/passwd', '/etc')])).code, 'EISDIR')
})

test.needs(needs, "a user can't name the worker's descriptors as source", async () => {
  const fd = openSync('/', 'r')
  for (const source of [
    `/proc/self/fd/${fd}`,
    `/proc/${process.pid}/fd/${fd}`,
    '/proc/self/root',
    '/proc/1/cwd',
  ]) {
    const error = await failure([bind(source, '/mnt')])
    assert.ok(['ELOOP', 'EACCES'].includes(error.code), `${source}: ${error.code}`)
  }
})

test.needs(needs, 'a source that the user cannot reach is refused with path and step', async () => {
  const hidden = lab.path('roots')
  mkdirSync(hidden, { mode: 0o700 })
  writeFileSync(`${hidden}/file`, 'x')
  const error = await failure([PROC, bind(`${hidden}/file`, '/x')])
  assert.is(error.code, 'EACCES')
  assert.is(error.path, `${hidden}/file`)
  assert.is(error.step, 1)
})

test.needs(needs, 'a file that the user may not read can be mounted and stays unreadable', async () => {
  const inside = await lab.run([bind('/etc/shadow', '/shadow')], 'cat /shadow')
  assert.is(inside.status, 1)
  assert.match(inside.stderr, 'Permission denied')
})

test.needs(needs, 'a missing source is "no such file" with path and step', async () => {
  const error = await failure([bind('/usr', '/a'), bind('/no/such', '/b')])
  assert.is(error.code, 'ENOENT')
  assert.is(error.syscall, 'openat2')
  assert.is(error.path, '/no/such')
  assert.is(error.step, 1)
})

test.needs(needs, 'an unknown tmpfs option is refused with the kernel’s words', async () => {
  const error = await failure([{ kind: 'tmpfs', target: '/t', options: 'sise=3', flags: [], mode: 0o755 }])
  assert.is(error.code, 'EINVAL')
  assert.is(error.path, 'sise=3')
  assert.match(error.message, "Unknown parameter 'sise'")
})

/** Each line must fail although the shell has all capabilities inside. */
const FORBIDDEN = [
  'umount /etc/issue',
  'umount -l /usr-bind',
  'mount -o remount,bind,rw /usr-bind',
  'mount -o remount,bind,dev /usr-bind && head -c1 /usr-bind/../null',
  'mount -o remount,bind,suid /usr-bind',
  'mount -o remount,rw /etc/issue',
  'mount -o remount,size=1g /tmp',
  'umount /proc',
  'umount -l /',
  'mknod /device c 1 3 && head -c1 /device',
  'mount /dev/loop0 /opt',
  'chroot /magic/root true',
]

test.needs(
  needs,
  'with all capabilities inside, mounts stay locked and the host stays out of reach',
  async () => {
    const steps = [PROC, DEV, bind('/usr', '/usr-bind', { flags: ['ro'] }), file('/etc/issue', 'ours\n')]
    const built = await lab.build([...steps, tmpfs('/tmp', 'size=1m')], { insideUid: 0, insideGid: 0 })
    for (const line of FORBIDDEN) {
      const inside = lab.enter(built, line, { capabilities: true })
      assert.is.not(inside.status, 0, `worked: ${line}\n${inside.stdout}`)
    }
    assert.is(lab.enter(built, 'cat /etc/issue').stdout, 'ours\n')
  },
)

test.needs(needs, 'capabilities inside give no right over files of the host', async () => {
  const owned = lab.path('hosts-file')
  writeFileSync(owned, 'untouched', { mode: 0o644 })
  mkdirSync(lab.path('shared'), { mode: 0o755 })
  const steps = [bind(owned, '/owned'), bind(lab.path('shared'), '/shared'), bind('/etc', '/host-etc')]
  const built = await lab.build(steps, { insideUid: 0, insideGid: 0 })
  const script =
    'echo x > /owned; touch /shared/x; chmod 777 /owned; cat /host-etc/shadow; touch /host-etc/x; id -u'
  const inside = lab.enter(built, script, { capabilities: true })
  assert.is(inside.stdout, '0\n')
  assert.is(inside.stderr.trim().split('\n').length, 5, inside.stderr)
  assert.is(readFileSync(owned, 'utf8'), 'untouched')
})

test.needs(
  needs,
  'climbing out of a chroot ends at the image or an empty root, never at the host',
  async () => {
    const built = await lab.build([PROC], { insideUid: 0, insideGid: 0 })
    const inside = lab.enter(built, '/bin/climb', { capabilities: true })
    assert.is(inside.stderr, '')
    assert.match(inside.stdout, /^top:/)
    assert.not.match(inside.stdout, /boot|sbin|srv/)
  },
)

test.needs(needs, 'a set-user-id program of the image gives nothing', async () => {
  const inside = await lab.run([PROC], 'grep " / / " /proc/self/mountinfo')
  assert.match(inside.stdout, /rw,nosuid,nodev/)
})

test.needs(needs, 'another user cannot join', async () => {
  const built = await lab.build([])
  const inside = lab.enter(built, 'true', { uid: 23_456 })
  assert.is(inside.status, 125)
  assert.match(inside.stderr, 'Operation not permitted')
})

test.run()
