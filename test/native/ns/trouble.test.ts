// SPDX-License-Identifier: Apache-2.0
/** Many at once, killed in the middle, below a job's own namespaces: nothing is left behind. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { wordsFor } from '../../compile.js'
import { suite } from '../../suite.js'
import { mountsBut } from '../mounts.js'
import { ADDON, attachedLoops, bind, file, Lab, missing, PROC, USER, until } from './lab.js'

const test = suite('namespace trouble')
const needs = missing()
const lab = new Lab()
const children: ChildProcess[] = []

const mounts = () => mountsBut(lab.folder)
const openFiles = () => readdirSync('/proc/self/fd').length

/** Processes whose command line holds the lab's folder: children that a build left behind share their parent's. */
function processesOfLab(): string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return false
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(lab.folder)
    } catch {
      return false
    }
  })
}

function start(command: string, args: string[]): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    children.push(child)
    child.on('error', reject)
    child.stdout.once('data', () => resolve(child))
  })
}

test.before(async () => {
  if (needs === undefined) await lab.start()
})
test.after(() => {
  for (const child of children) child.kill('SIGKILL')
  lab.stop()
})

test.needs(needs, 'fifty at once, of several users, all succeed and see their own', async () => {
  const before = mounts()
  const filesBefore = openFiles()
  const wanted = Array.from({ length: 50 }, (_, i) => i)
  const all = await Promise.all(
    wanted.map((i) => {
      const ids = { uid: 20_000 + (i % 5), gid: 20_000 + (i % 5) }
      const inside = { insideUid: ids.uid, insideGid: ids.gid }
      return lab.build([PROC, file('/etc/issue', `number ${i}\n`), bind('/usr', '/host')], {
        ...ids,
        ...inside,
      })
    }),
  )
  for (const [i, built] of all.entries()) {
    const ids = { uid: 20_000 + (i % 5), gid: 20_000 + (i % 5) }
    if (i % 10 < 5) assert.is(lab.enter(built, 'cat /etc/issue', ids).stdout, `number ${i}\n`)
    lab.close(built)
  }
  assert.is(mounts(), before)
  await until(() => openFiles() <= filesBefore + 8, 'descriptors are closed')
})

test.needs(needs, 'a failed build leaves nothing', async () => {
  const before = mounts()
  await lab.build([PROC]).then((built) => lab.close(built))
  const filesBefore = openFiles()
  for (let i = 0; i < 5; i++) {
    await lab.build([PROC, bind('/usr', '/a'), bind('/no/such', '/b')]).catch(() => undefined)
    await lab.build([PROC, bind('/usr', '/etc/issue/x')]).catch(() => undefined)
  }
  await until(() => openFiles() <= filesBefore, 'descriptors are closed')
  assert.is(mounts(), before)
  await until(() => readChildren().length === 0, 'helper processes are reaped')
})

function readChildren(): string[] {
  const text = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim()
  return text === '' ? [] : text.split(' ')
}

test.needs(needs, 'kill -9 in the middle leaves no process, mount or loop device', async () => {
  const before = mounts()
  const image = lab.path('killed.sqsh')
  execFileSync('cp', [lab.imagePath, image])
  for (let i = 0; i < 5; i++) {
    const looper = await start(process.execPath, [
      ...wordsFor(join(import.meta.dirname, 'looper.ts')),
      image,
      ADDON,
    ])
    assert.is(attachedLoops(image), 1)
    await new Promise((resolve) => setTimeout(resolve, 20 + i * 7))
    looper.kill('SIGKILL')
    await until(() => processesOfLab().length === 0, 'all processes ended')
    await until(() => attachedLoops(image) === 0, 'the loop device is free')
  }
  assert.is(mounts(), before)
})

test.needs(needs, "sources come from the job's mount namespace, and it stays as it was", async () => {
  const script = 'mount -t tmpfs job /mnt && echo secret > /mnt/of-the-job && echo ready && cat'
  const job = await start('unshare', ['-m', 'sh', '-c', script])
  const mountNs = openSync(`/proc/${job.pid}/ns/mnt`, 'r')
  const jobMounts = () => readFileSync(`/proc/${job.pid}/mounts`, 'utf8')
  const before = jobMounts()
  try {
    const outside = await lab.build([bind('/mnt/of-the-job', '/x')]).catch((error) => error)
    assert.is(outside.code, 'ENOENT')
    const built = await lab.build([bind('/mnt/of-the-job', '/x'), bind('/mnt', '/y')], { mountNs })
    assert.is(lab.enter(built, 'cat /x /y/of-the-job').stdout, 'secret\nsecret\n')
    assert.is(jobMounts(), before)
    lab.close(built)
    const fd = await lab.native.openAs({ path: 'of-the-job', cwd: '/mnt', ...USER, mountNs, flags: 0 })
    assert.is(readFileSync(fd, 'utf8'), 'secret\n')
    closeSync(fd)
  } finally {
    closeSync(mountNs)
    job.kill('SIGKILL')
  }
})

test.needs(
  needs,
  "below a job's own user namespace the step's is its child, and the job's tasks may join",
  async () => {
    const job = await start('unshare', [
      '-U',
      '-m',
      '--propagation',
      'unchanged',
      'sh',
      '-c',
      'echo ready && cat',
    ])
    writeFileSync(`/proc/${job.pid}/uid_map`, '0 0 4294967295\n')
    writeFileSync(`/proc/${job.pid}/gid_map`, '0 0 4294967295\n')
    const mountNs = openSync(`/proc/${job.pid}/ns/mnt`, 'r')
    const userNs = openSync(`/proc/${job.pid}/ns/user`, 'r')
    try {
      const built = await lab.build([PROC, bind('/usr', '/host')], { mountNs, userNs })
      const through = ['nsenter', '-t', String(job.pid), '-U', '--preserve-credentials']
      const inside = lab.enter(built, 'id -u; cat /proc/self/uid_map; cat /etc/issue; touch /x && echo ok', {
        through,
      })
      assert.is(inside.stderr, '')
      assert.is(inside.stdout.replace(/ +/g, ' '), '12345\n 12345 12345 1\nthe image\nok\n')
    } finally {
      closeSync(mountNs)
      closeSync(userNs)
      job.kill('SIGKILL')
    }
  },
)

test.needs(needs, 'what is mounted inside never appears on the host, also below a shared mount', async () => {
  const script = [
    'mount --make-rshared /',
    `mount -t tmpfs shared /mnt && mkdir /mnt/a && echo ready && cat`,
  ].join(' && ')
  const job = await start('unshare', ['-m', 'sh', '-c', script])
  const mountNs = openSync(`/proc/${job.pid}/ns/mnt`, 'r')
  const jobMounts = () => readFileSync(`/proc/${job.pid}/mounts`, 'utf8')
  const before = jobMounts()
  try {
    for (const flags of [[], ['slave'], ['shared']]) {
      const steps = [bind('/mnt', '/outer', { flags }), bind('/usr', '/outer/a')]
      lab.close(await lab.build(steps, { mountNs }))
      assert.is(jobMounts(), before, flags.join())
    }
  } finally {
    closeSync(mountNs)
    job.kill('SIGKILL')
  }
})

test.needs(needs, 'a slave mount shows what the host mounts later', async () => {
  const script = [
    'mount --make-rshared /',
    'mount -t tmpfs shared /mnt && mkdir /mnt/late && echo ready',
    'read go && mount -t tmpfs late /mnt/late && echo there > /mnt/late/file && echo done && cat',
  ].join(' && ')
  const job = await start('unshare', ['-m', 'sh', '-c', script])
  const mountNs = openSync(`/proc/${job.pid}/ns/mnt`, 'r')
  try {
    const steps = [bind('/mnt', '/slave', { flags: ['slave'] }), bind('/mnt', '/private')]
    const built = await lab.build(steps, { mountNs })
    const done = new Promise((resolve) => job.stdout?.once('data', resolve))
    job.stdin?.write('go\n')
    await done
    const inside = lab.enter(built, 'cat /slave/late/file; ls /private/late')
    assert.is(inside.stdout, 'there\n')
    lab.close(built)
  } finally {
    closeSync(mountNs)
    job.kill('SIGKILL')
  }
})

test.needs(needs, 'closing image and namespaces frees the loop device', async () => {
  const image = lab.path('once.sqsh')
  execFileSync('cp', [lab.imagePath, image])
  const loop = await lab.native.attachImage(image)
  const built = await lab.build([], { image: { device: loop.device } })
  lab.native.closeFd(loop.loopFd)
  lab.native.closeFd(loop.mountFd)
  assert.is(lab.enter(built, 'cat /etc/issue').stdout, 'the image\n', 'a running step keeps its image')
  assert.is(attachedLoops(image), 1)
  lab.close(built)
  await until(() => attachedLoops(image) === 0, 'the loop device is free')
  assert.ok(existsSync(image))
})

test.needs(needs, 'thirty images attached at once get thirty devices', async () => {
  const images = await Promise.all(Array.from({ length: 30 }, () => lab.native.attachImage(lab.imagePath)))
  assert.is(new Set(images.map((image) => image.device)).size, 30)
  for (const image of images) {
    lab.native.closeFd(image.mountFd)
    lab.native.closeFd(image.loopFd)
  }
})

test.needs(needs, 'a file that is no squashfs is refused with its path', async () => {
  const path = lab.path('no-image')
  writeFileSync(path, Buffer.alloc(65536, 'x'))
  const error = await lab.native.attachImage(path).catch((failure) => failure)
  assert.is(error.code, 'EINVAL')
  assert.is(error.path, path)
  await until(() => attachedLoops(path) === 0, 'the loop device is free')
})

test.needs(needs, 'an image inside a larger file is found by its offset', async () => {
  const path = lab.path('wrapped')
  writeFileSync(path, Buffer.concat([Buffer.alloc(40960), readFileSync(lab.imagePath)]))
  const fd = openSync(path, 'r')
  const loop = await lab.native.attachImageFd(fd, 40960)
  closeSync(fd)
  const inside = await lab.run([], 'cat /etc/issue', { image: { device: loop.device } })
  assert.is(inside.stdout, 'the image\n')
  lab.native.closeFd(loop.mountFd)
  lab.native.closeFd(loop.loopFd)
})

test.needs(needs, 'a program that is started while a namespace is begun does not wait for it', () => {
  const script = join(import.meta.dirname, 'spawner.ts')
  const done = spawnSync(process.execPath, wordsFor(script), { encoding: 'utf8', timeout: 90_000 })
  assert.is(done.status, 0, `signal ${done.signal}: ${done.stderr}`)
})

test.run()
