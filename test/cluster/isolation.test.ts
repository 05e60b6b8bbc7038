// SPDX-License-Identifier: Apache-2.0
/** Nobody gains anything: not over the host, not over another user, not over the worker; and no berth means no run. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { encodeFrame, Tag, Type } from '../../src/worker/frame.js'
import { suite } from '../suite.js'
import type { Node } from './cluster.js'
import { type Outcome, run, until } from './command.js'
import { exits, fails, lines, prints, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { hostRelease, otherRelease } from './images.js'
import { importersOf } from './leftovers.js'
import { pushSlowImage, startThrottle } from './throttle.js'
import { USER_A, USER_B } from './users.js'

const test = suite('isolation')
const at = useCluster(test, { nodes: [{}, { plugin: false }] })
const node = (): Node => at.cluster.nodes[0] as Node
const srun = (command: string, user = USER_A.name): Promise<Outcome> =>
  at.cluster.srun(
    ['-n1', '-w', 'n1', '--overlap', `--container-image=${at.images.debian}`, 'sh', '-c', command],
    { user },
  )

test('a node without the plugin runs the launcher, which refuses, and not the program', async () => {
  const args = ['-n1', '-w', 'n2', `--container-image=${at.images.debian}`]
  const seen = fails(
    await at.cluster.srun([
      ...args,
      'sh',
      '-c',
      '. /etc/os-release; echo ran in $VERSION_CODENAME; touch must-not-run',
    ]),
  )
  saysNot(seen, /ran in/)
  says(seen, /berth/)
  assert.not.ok(existsSync(join(at.cluster.shared, 'must-not-run')))
  saysNot(
    await at.cluster.srun([
      '-N2',
      '-n2',
      `--container-image=${at.images.debian}`,
      'sh',
      '-c',
      '. /etc/os-release; echo $VERSION_CODENAME',
    ]),
    new RegExp(hostRelease()),
  )
})

test('variables alone in a submitted job are enough, as slurmrestd sends them', async () => {
  // The configuration of the node without the plugin: nobody has read the variables at submit.
  const env = {
    SLURM_CONF: join(at.cluster.dir, 'n2/slurm.conf'),
    BERTH_CONTAINER_IMAGE: at.images.debian,
    PYXIS_CONTAINER_REMAP_ROOT: '1',
  }
  const script = '#!/bin/sh\n. /etc/os-release\necho $VERSION_CODENAME $(id -u)\n'
  prints(await at.cluster.batch(script, ['-w', 'n1'], { env }), [`${otherRelease()} 0`])
  const more = {
    BERTH_CONTAINER_MOUNTS: `${at.cluster.shared}:/data`,
    BERTH_CONTAINER_WORKDIR: '/data',
    BERTH_CONTAINER_WRITABLE: '8M',
    PYXIS_CONTAINER_ENV: 'BERTH_TEST_IMAGE',
    BERTH_TEST_IMAGE: 'of the job',
  }
  const look = '#!/bin/sh\necho $PWD, $BERTH_TEST_IMAGE; touch /new && echo wrote\n'
  const seen = await at.cluster.batch(look, ['-w', 'n1'], { env: { ...env, ...more } })
  prints(seen, ['/data, of the job', 'wrote'])
})

test('the user stays who they are: uid 0 is not to be had', async () => {
  prints(await srun('id -u; cat /proc/self/uid_map | tr -s " "'), [
    String(USER_A.uid),
    ` ${USER_A.uid} ${USER_A.uid} 1`,
  ])
  // A filter may tell set*id that it worked, for package managers; it may not be true.
  for (const attempt of ['setpriv --reuid=0 id -u', 'chroot / id -u']) saysNot(await srun(attempt), /^0$/m)
  const barred = ['mount -t tmpfs x /mnt', 'mount -o remount,suid /', 'umount /proc']
  for (const attempt of [...barred, 'mknod /tmp/null c 1 3; test -c /tmp/null']) fails(await srun(attempt))
})

test('a further user namespace gives no way to the host’s files or to what the mounts hide', async () => {
  fails(await srun("unshare -Ur sh -c 'mount -o remount,rw,suid,dev / && true'"))
  fails(await srun("unshare -Urm sh -c 'umount /sys'"))
})

test('what the user writes does not reach the host', async () => {
  await srun(
    'echo bad > /etc/berth-evil; echo bad > /usr/bin/berth-evil; echo bad > /tmp/berth-evil; echo bad > /run/berth-evil',
  )
  for (const dir of ['/etc', '/usr/bin', '/tmp', '/run'])
    assert.not.ok(existsSync(join(dir, 'berth-evil')), dir)
})

test('nor does it reach the image of the next step', async () => {
  await srun('echo bad > /opt/tool/first; rm -rf /opt/tool/bin')
  prints(await srun('cat /opt/tool/first; hello-tool'), ['linked', 'hello from the image, '])
})

test('nothing of the host’s root shows, not even the shared directory, unless it was mounted', async () => {
  // The user's own home is a directory of the container, as with enroot.
  const look = `ls ${at.cluster.dir} 2>/dev/null | grep -c store; ls -A /home; ls -A /home/* | wc -l`
  prints(await srun(look), ['0', USER_A.name, '0'])
})

test('images in the store and the worker’s files belong to root alone', async () => {
  prints(await srun('echo'), [])
  const images = join(node().storeDir, 'images')
  assert.is(statSync(images).mode & 0o077, 0)
  assert.is(statSync(images).uid, 0)
  assert.ok(readdirSync(images).length > 0)
  for (const attempt of [
    `ls ${images}`,
    `cat ${images}/*`,
    `rm -rf ${images}`,
    `touch ${node().runtimeDir}/x`,
    `rm ${node().runtimeDir}/worker.sock`,
  ]) {
    fails(await at.cluster.command(['sh', '-c', attempt]))
  }
})

test('two users on one node see nothing of each other', async () => {
  const step = at.cluster.start(
    [
      'srun',
      '-n1',
      '-w',
      'n1',
      '--overlap',
      `--container-image=${at.images.debian}`,
      'sh',
      '-c',
      'echo secret > /tmp/secret; echo up $$; sleep 30',
    ],
    { user: USER_A.name },
  )
  await step.sees(/up \d+/)
  const pid = /up (\d+)/.exec(step.output())?.[1]
  const seen = await srun(
    `cat /tmp/secret; cat /proc/${pid}/root/tmp/secret; cat /proc/${pid}/environ; ls /proc/${pid}/fd; echo end`,
    USER_B.name,
  )
  says(saysNot(seen, /^secret/m), /end/)
  saysNot(
    await at.cluster.command(
      ['sh', '-c', `cat /proc/${pid}/root/tmp/secret; nsenter -U -m -t ${pid} true && echo entered`],
      { user: USER_B.name },
    ),
    /^(secret|entered)/m,
  )
  await step.interrupt()
})

test('an image that one user brought is the other’s too, when the registry lets them', async () => {
  prints(await srun('. /etc/os-release; echo $VERSION_CODENAME', USER_B.name), [otherRelease()])
})

test('the launcher by hand, outside of a step, refuses', async () => {
  const launcher = resolve(import.meta.dirname, '../../dist/berth-exec')
  const seen = await at.cluster.command([launcher, '/bin/true'], { env: { SLURM_BERTH_ARGV0: '/bin/true' } })
  exits(seen, 125)
})

/** Sends raw bytes as an ordinary user and answers what came back, in hex. @param waitMs for the end of the connection */
function speak(bytes: Buffer, user: string, waitMs: number): Promise<Outcome> {
  const script = `
    const socket = require('node:net').connect(${JSON.stringify(join(node().runtimeDir, 'worker.sock'))})
    let answer = ''
    socket.on('data', (data) => { answer += data.toString('hex') })
    socket.on('close', () => { console.log('closed ' + answer); process.exit(0) })
    socket.on('error', () => {})
    socket.write(Buffer.from('${bytes.toString('hex')}', 'hex'))
    setTimeout(() => { console.log('open ' + answer); process.exit(0) }, ${waitMs})`
  return run([process.execPath, '-e', script], { user })
}

test('an ordinary user cannot play slurmstepd', async () => {
  const option = `container-image=${at.images.debian}`
  const fields = [
    [Tag.HANDLE, Buffer.alloc(16, 7)],
    [Tag.OPTION, option],
    [Tag.UID, 0],
    [Tag.GID, 0],
    [Tag.JOB, 1],
    [Tag.STEP, 0],
  ] as const
  for (const type of [Type.REGISTER, Type.TASK, Type.RELEASE, Type.PREFETCH]) {
    const seen = exits(await speak(encodeFrame(type, fields), USER_B.name, 60_000), 0)
    // Refused: closed without a word or with FAIL (type 65 = 0x41 little-endian after the size word).
    says(seen, /^closed( .{8}4100.*)?\s*$/m)
  }
})

test('garbage and half frames do no harm', async () => {
  const before = node().workerPid()
  const huge = Buffer.alloc(8)
  huge.writeUInt32LE(0xffffffff, 0)
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    huge,
    Buffer.alloc(4),
    encodeFrame(Type.HELLO, []),
  ]) {
    exits(await speak(bytes, USER_B.name, 1500), 0)
  }
  prints(await srun('echo alive'), ['alive'])
  assert.is(node().workerPid(), before)
})

test('the importer is nobody: an unprivileged uid, no capability, no new privileges', async () => {
  const throttle = await startThrottle(at.registry.host, at.cluster.undo)
  await pushSlowImage(at.registry, 'slow:1')
  const image = `--container-image=${throttle.host}/slow:1`
  const step = at.cluster.start(['srun', '-n1', '-w', 'n1', image, 'echo', 'imported'])
  await until('a held transfer', () => throttle.held() > 0)
  const importers = importersOf(node().workerPid())
  assert.ok(importers.length > 0)
  for (const pid of importers) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    assert.match(status, /Uid:\s+(?!0\s)\d+/)
    assert.match(status, /Gid:\s+(?!0\s)\d+/)
    assert.match(status, /CapPrm:\s+0+\n/)
    assert.match(status, /NoNewPrivs:\s+1/)
    assert.not.ok(readFileSync(`/proc/${pid}/environ`, 'utf8').includes('SLURM'))
  }
  throttle.open()
  prints(await step.done, ['imported'])
})

test('the environment of slurmd and of the user does not reach the worker', async () => {
  const pid = node().workerPid()
  const seen = lines(await run(['sh', '-c', `tr '\\0' '\\n' < /proc/${pid}/environ | cut -d= -f1`]))
  const known = new Set(['PATH', 'LANG', 'LISTEN_FDS', 'LISTEN_PID', 'UV_THREADPOOL_SIZE', 'HOME', 'USER'])
  assert.equal(
    seen.filter((name) => !known.has(name)),
    [],
  )
})

test.run()
