// SPDX-License-Identifier: Apache-2.0
/** --container-writable=disk of steps without a name: the limit, who shares it, what it leaves, what is refused. */
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { type Outcome, type Running, type RunOptions, until } from './command.js'
import { sendSignal } from './daemon.js'
import { exits, fails, lines, prints, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { loopDevices } from './leftovers.js'

const test = suite('a writable layer on disk')
/** With mkfs.ext4 until a test takes it away. */
const programs = mkdtempSync(join(tmpdir(), 'berth-programs-'))
symlinkSync('/usr/sbin/mkfs.ext4', join(programs, 'mkfs.ext4'))
const at = useCluster(test, { nodes: [{}], berthConf: `engine_path = ${programs}\n` })
test.after(() => rmSync(programs, { recursive: true }))
/** Beyond what any machine of the suite has. */
const TOO_MUCH = '500T'

function srun(
  value: string,
  command: string,
  options: string[] = [],
  run: RunOptions = {},
): Promise<Outcome> {
  const flags = ['--overcommit', `--container-image=${at.images.debian}`, `--container-writable=${value}`]
  return at.cluster.srun(['-N1', ...flags, ...options, 'sh', '-c', command], run)
}

/** A step that has begun when this resolves, and whose disk is the only one. */
async function begin(value: string, script: string): Promise<Running> {
  await noneIsLeft()
  const image = `--container-image=${at.images.debian}`
  const flags = ['-n1', image, `--container-writable=${value}`, `--container-mounts=${at.cluster.shared}`]
  const running = at.cluster.start(['srun', ...flags, 'sh', '-c', `echo begun; ${script}`])
  await running.sees(/begun/)
  return running
}

/** Those of steps: they have no name in the store. */
function disks(): string[] {
  return loopDevices(at.cluster.dir).filter((line) => line.endsWith('(deleted)'))
}

function noneIsLeft(): Promise<void> {
  return until('the end of the disk', () => disks().length === 0)
}

test('its size is the limit: beyond it is ENOSPC, and the step goes on', async () => {
  const fill = 'head -c $1 /dev/zero >/fill; r=$?; echo still here; exit $r'
  const full = fails(await srun('disk:32M', `set -- 40M; ${fill}`))
  says(says(full, /No space left on device/), /still here/)
  prints(await srun('disk:32M', `set -- 24M; ${fill}`), ['still here'])
  await noneIsLeft()
})

test('two tasks share it, and the next step starts anew', async () => {
  const both =
    'echo $SLURM_PROCID >/of$SLURM_PROCID; until ls /of0 /of1 >/dev/null 2>&1; do :; done; cat /of*'
  prints(await srun('disk', both, ['-n2']), ['0', '1', '0', '1'])
  prints(await srun('disk', 'ls /of0 || echo none', ['-n1']), ['none'])
})

test('as root inside, saved as an image', async () => {
  const path = join(at.cluster.shared, 'disk.sqsh')
  const change = 'rm /etc/issue; echo new >/etc/new; chown 7:7 /etc/new; stat -c %u /etc/new /'
  prints(await srun('disk:64M', change, ['--container-remap-root', `--container-save=${path}`]), ['0', '0'])
  const look = 'cat /etc/new; test -e /etc/issue || echo gone'
  prints(await at.cluster.srun([`--container-image=${path}`, 'sh', '-c', look]), ['new', 'gone'])
})

test('neither devices nor setuid programs work on it', async () => {
  const options = 'while read a b c d e f g; do test "$e" = / && echo $f; done </proc/self/mountinfo'
  says(await srun('disk:16M', options), /nosuid,nodev/)
})

test('by variable; a bare size is of the place that the site says, which is memory', async () => {
  const where = `stat -f -c %T / ; df -P / | tail -n1 | tr -s ' ' | cut -d' ' -f2`
  const kilobytes = (seen: Outcome): number => Number(lines(seen).at(-1))
  const disk = kilobytes(await srun('1', where, [], { env: { BERTH_CONTAINER_WRITABLE: 'disk:64M' } }))
  assert.is(kilobytes(await srun('32M', where)), 32 << 10)
  assert.is(kilobytes(await srun('memory:16M', where)), 16 << 10)
  assert.is(disk, kilobytes(await srun('memory', where)), 'the flag wins over the variable')
  const byVariable = await at.cluster.srun([`--container-image=${at.images.debian}`, 'sh', '-c', where], {
    env: { PYXIS_CONTAINER_WRITABLE: 'disk:64M' },
  })
  const some = kilobytes(byVariable)
  assert.ok(some > 60 << 10 && some < 64 << 10, String(some))
})

test('the worker killed meanwhile: the step goes on writing, and nothing is left', async () => {
  const node = at.cluster.nodes[0]
  if (node === undefined) throw new Error('no node')
  const go = join(at.cluster.shared, 'go')
  const running = await begin('disk:32M', `until test -e ${go}; do :; done; echo more >/late && cat /late`)
  const [disk = ''] = disks()
  const sectors = readFileSync(`/sys/block/${disk.split(' ')[2]}/size`, 'utf8')
  assert.is(Number(sectors), (32 << 20) / 512)
  sendSignal(node.workerPid() ?? 0, 'SIGKILL')
  await until('its end', () => node.workerPid() === undefined)
  assert.is(disks().length, 1)
  exits(await at.cluster.command(['touch', go]), 0)
  says(exits(await running.done, 0), /more/)
  await noneIsLeft()
})

test('cancelled while it writes: nothing is left', async () => {
  const running = await begin('disk:64M', 'while :; do head -c 8M /dev/zero >/x; done')
  await running.interrupt()
  await noneIsLeft()
})

test('what cannot be is refused: too much, too little, no grammar, with a name', async () => {
  const refused = async (value: string, clause: RegExp, options: string[] = []) =>
    saysNot(refuses(await srun(value, 'echo it-ran', options), clause), /it-ran/)
  await refused(`disk:${TOO_MUCH}`, /BERTH_EWRITABLE.*no room[\s\S]*hint: ask for less/)
  await refused('disk:4K', /BERTH_EWRITABLE.*4K is less than[\s\S]*hint: .*1M or more/)
  await refused('disks', /must be .*, or disk or memory, alone or with :SIZE/)
  await refused('disk:', /must be/)
  await refused('disk:1G', /on disk without a size of its own/, ['--container-name=kept'])
  await refused('memory', /on disk, not in memory/, ['--container-name=kept'])
  exits(await srun('disk', 'true', ['--container-name=kept']), 0)
  await noneIsLeft()
})

test('a node without mkfs.ext4: said before anything is pulled', async () => {
  rmSync(join(programs, 'mkfs.ext4'))
  const before = at.registry.requests().length
  const flags = [`--container-image=${at.images.busybox}`, '--container-writable=disk']
  const seen = refuses(await at.cluster.srun(['-n1', ...flags, 'true']), /BERTH_EWRITABLE.*no mkfs\.ext4 in/)
  says(saysNot(seen, /importing/), /hint: .*=memory.*e2fsprogs/)
  const blobs = at.registry.requests().slice(before)
  assert.equal(
    blobs.filter((line) => line.includes('/blobs/')),
    [],
  )
})

test.run()
