// SPDX-License-Identifier: Apache-2.0
/** --container-unshare and --container-shm-size: namespaces of the container's own, row by row as users of pyxis know them. */
import { readlinkSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import type { Outcome, RunOptions } from './command.js'
import { exits, fails, lines, prints, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'

const test = suite('pyxis: namespaces')
const at = useCluster(test, { nodes: [{}] })

function srun(options: readonly string[], command: string, run: RunOptions = {}): Promise<Outcome> {
  return at.cluster.srun(
    ['-n1', `--container-image=${at.images.debian}`, ...options, 'bash', '-c', command],
    run,
  )
}

const NAMES = ['net', 'ipc', 'uts']
const show = `for n in ${NAMES.join(' ')}; do readlink /proc/self/ns/$n; done`
const host = NAMES.map((name) => readlinkSync(`/proc/self/ns/${name}`))

test('by default they are the host’s', async () => {
  prints(await srun([], show), host)
})

test('each is new when named, the others are not', async () => {
  for (const list of ['net', 'ipc', 'uts', 'net,ipc', 'uts,net,ipc']) {
    const seen = lines(await srun([`--container-unshare=${list}`], show))
    NAMES.forEach((name, index) => {
      assert.is(seen[index] !== host[index], list.split(',').includes(name), `${list}: ${name}`)
    })
  }
})

test('all tasks of a step share them', async () => {
  const args = ['-n3', `--container-image=${at.images.debian}`, '--container-unshare=net,ipc,uts']
  const seen = lines(await at.cluster.srun([...args, 'bash', '-c', show]))
  assert.is(new Set(seen).size, NAMES.length)
  assert.is(seen.length, 3 * NAMES.length)
})

test('by variable', async () => {
  const seen = lines(await srun([], show, { env: { PYXIS_CONTAINER_UNSHARE: 'net' } }))
  assert.is.not(seen[0], host[0])
})

test('unknown names are refused', async () => {
  for (const list of ['foo', 'net,foo'])
    refuses(await srun([`--container-unshare=${list}`], 'true'), /unknown namespace/)
})

test('net: loopback is up and leads nowhere else', async () => {
  const connect = (to: string): string => `exec 3<>/dev/tcp/${to}`
  says(fails(await srun(['--container-unshare=net'], connect('127.0.0.1/65535'))), /Connection refused/)
  says(fails(await srun(['--container-unshare=net'], connect('8.8.8.8/53'))), /Network is unreachable/)
})

test('ipc: memory, queues and devices are other file systems than the host’s', async () => {
  const places = ['/dev', '/dev/shm', '/dev/mqueue']
  const run = { env: { ENROOT_RESTRICT_DEV: 'no' } }
  const seen = lines(await srun(['--container-unshare=ipc'], `stat -c %d ${places.join(' ')}`, run))
  const outside = await at.cluster.command(['stat', '-c', '%d', '/dev', '/dev/shm'])
  assert.is(seen.length, places.length)
  for (const device of lines(outside)) assert.not.ok(seen.includes(device), `${device} of ${seen.join(' ')}`)
  assert.is(statSync('/dev/mqueue', { throwIfNoEntry: false })?.dev === Number(seen[2]), false)
})

test('ipc: its /dev works', async () => {
  const check = [
    'echo x > /dev/null',
    'head -c 4 /dev/urandom | wc -c',
    'echo y > /dev/stdout',
    'touch /dev/shm/mine',
    'stat -f -c %T /dev/mqueue',
    'script -qec "echo in a terminal" /dev/null',
  ].join(' && ')
  const seen = exits(await srun(['--container-unshare=ipc'], check), 0)
  says(seen, /4[\s\S]*y[\s\S]*mqueue[\s\S]*in a terminal/)
})

test('ipc: segments stay inside', async () => {
  // A program that stays, so that its segment is there while the host's are listed; those of others come and go.
  const bytes = 4096 + process.pid
  const make = `ipcmk -M ${bytes} >/dev/null && tail -n +2 /proc/sysvipc/shm | wc -l; echo made; exec sleep 300`
  const words = [
    '-n1',
    `--container-image=${at.images.debian}`,
    '--container-unshare=ipc',
    'bash',
    '-c',
    make,
  ]
  const step = at.cluster.start(['srun', ...words])
  await step.sees(/^1\nmade$/m)
  saysNot(await at.cluster.command(['cat', '/proc/sysvipc/shm']), new RegExp(` ${bytes} `))
  await step.interrupt()
})

test('uts: starts with the host’s name, and may have its own as root', async () => {
  prints(await srun(['--container-unshare=uts'], 'cat /proc/sys/kernel/hostname'), [hostname()])
  const rename = 'hostname inside && cat /proc/sys/kernel/hostname'
  prints(await srun(['--container-unshare=uts', '--container-remap-root'], rename), ['inside'])
  prints(await at.cluster.srun(['cat', '/proc/sys/kernel/hostname']), [hostname()])
})

test('shared memory of a size', async () => {
  const seen = lines(await srun(['--container-shm-size=16M'], 'df -B1 --output=size /dev/shm | tail -n1'))
  assert.equal(
    seen.map((line) => line.trim()),
    [String(16 << 20)],
  )
})

test.run()
