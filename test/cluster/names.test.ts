// SPDX-License-Identifier: Apache-2.0
/** Containers with a name, as scripts written for pyxis use them: steps of one job that share, join and outlive them. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { distOf, startCluster } from './cluster.js'
import { must, type Outcome, type Running, run, until } from './command.js'
import { exits, fails, lines, prints, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { buildImages, publishImages } from './images.js'
import { leftForGood } from './leftovers.js'
import { startRegistry } from './registry.js'
import { USER_A, USER_B } from './users.js'

const test = suite('names')
const at = useCluster(test, { nodes: [{}] })
let job = ''

interface Given {
  image?: boolean
  options?: string[]
  user?: string
}

/** One step of the one job of this file, as scripts run all their steps. */
function words(name: string, script: string, { image = false, options = [] }: Given = {}): string[] {
  const from = image ? [`--container-image=${at.images.busybox}`] : []
  const step = [`--jobid=${job}`, '-N1', '-n1', '--overlap', '--overcommit']
  return ['srun', ...step, `--container-name=${name}`, ...from, ...options, 'sh', '-c', script]
}

async function step(name: string, script: string, given: Given = {}): Promise<Outcome> {
  if (job === '') await allocate()
  return at.cluster.command(words(name, script, given))
}

async function stays(name: string, given: Given = {}): Promise<Running> {
  if (job === '') await allocate()
  const running = at.cluster.start(
    words(name, 'cd /etc; export OF_FIRST=1; echo mine > /tmp/private; echo ready; exec sleep 300', given),
  )
  await running.sees(/ready/)
  return running
}

/** A step of the same image without a name. */
async function unnamed(script: string, options: string[] = []): Promise<Running> {
  if (job === '') await allocate()
  const named = words('x', script, { image: true, options })
  return at.cluster.start(named.filter((word) => !word.startsWith('--container-name')))
}

async function ends(running: Running): Promise<void> {
  running.kill('SIGTERM')
  await running.done
  await until('its end', async () => !/sleep/.test((await berth('ps')).output))
}

async function allocate(): Promise<void> {
  const got = exits(await at.cluster.salloc(['-N1', '-n2', '--no-shell']), 0)
  job = /job allocation (\d+)/.exec(got.output)?.[1] ?? ''
}

function environment(): Record<string, string> {
  return { BERTH_RUNTIME_DIR: at.cluster.nodes[0]?.runtimeDir ?? '' }
}

function berth(...args: string[]): Promise<Outcome> {
  const program = [join(distOf(at.cluster), 'node'), join(distOf(at.cluster), 'bin/berth.js')]
  return at.cluster.command([...program, ...args], { env: environment() })
}

function enroot(...args: string[]): Promise<Outcome> {
  return at.cluster.command([join(distOf(at.cluster), 'compat/enroot'), ...args], { env: environment() })
}

test('srun enroot, as the first step of a node: it needs not be told where the worker is, which comes for it', async () => {
  prints(await at.cluster.srun(['-n1', join(distOf(at.cluster), 'compat/enroot'), 'list']), [])
})

test('name and image make it; name alone, or with any image, uses it; nothing is said', async () => {
  exits(await step('kept', 'echo one > /file', { image: true }), 0)
  prints(await step('kept', 'cat /file'), ['one'])
  const again = exits(await step('kept', 'cat /file; echo two >> /file', { image: true }), 0)
  saysNot(again, /berth|import/i)
  const other = ['--container-image=no-such-registry.invalid/x:1']
  prints(await step('kept', 'cat /file', { options: other }), ['one', 'two'])
  fails(await step('fresh', 'cat /file', { image: true }))
  exits(await (await unnamed('test ! -e /file')).done, 0)
})

test('several tasks of one that exists print their own lines and no other', async () => {
  const { output } = exits(await step('kept', 'echo $SLURM_PROCID', { options: ['-n4'] }), 0)
  // Slurm may say that the step before has not quite ended.
  const told = output.split('\n').filter((line) => line !== '' && !line.startsWith('srun: '))
  assert.equal(told.sort(), ['0', '1', '2', '3'])
})

test('what is written to a name is its user’s on disk, so that disk quotas count it; a size is refused', async () => {
  const folder = join(at.cluster.nodes[0]?.storeDir ?? '', 'containers', String(USER_A.uid))
  const found = await run(['find', folder, '-path', '*/upper/file', '-printf', '%U %G\n'])
  prints(found, [`${USER_A.uid} ${USER_A.uid}`])
  refuses(await step('kept', 'true', { options: ['--container-writable=1M'] }), /with a name is on disk/)
})

test('a name without image that does not exist is refused', async () => {
  refuses(
    await step('nowhere', 'true'),
    /a container with name "nowhere" does not exist, and --container-image is not set/,
  )
})

test('names that cannot be are refused before anything runs', async () => {
  for (const name of ['/tmp/foo', 'x:attach', ':attach', 'a'.repeat(300), ''])
    fails(await step(name, 'true', { image: true }))
})

test('create refuses one that exists, exec one that does not run', async () => {
  exits(await step('once:create', 'true', { image: true }), 0)
  fails(await step('once:create', 'true', { image: true }))
  says(fails(await step('kept:exec', 'true')), /not running/)
})

test('read-only when asked, else writable', async () => {
  const seen = await step('kept', 'touch /newfile', { options: ['--container-readonly'] })
  says(fails(seen), /Read-only file system/)
  exits(await step('kept', 'touch /newfile'), 0)
})

test('a second step joins what runs: its mounts, cwd /, mounts of its own ignored', async () => {
  const first = await stays('kept')
  prints(await step('kept', 'cat /tmp/private; pwd'), ['mine', '/'])
  prints(await step('kept:exec', 'cat /tmp/private'), ['mine'])
  const seen = await step('kept', 'test ! -e /mine', { options: ['--container-mounts=/tmp:/mine'] })
  says(exits(seen, 0), /ignoring --container-mounts/)
  const fixed = [
    'container-readonly',
    'container-mount-home',
    'container-remap-root',
    'container-shm-size=1M',
  ]
  const same = ['--no-container-mount-home', '--container-writable']
  const changed = await step('kept', 'touch /joined', { options: fixed.map((flag) => `--${flag}`) })
  for (const flag of fixed)
    says(
      exits(changed, 0),
      new RegExp(`ignoring --${flag.split('=')[0]} because the container "kept" is run`),
    )
  saysNot(exits(await step('kept', 'rm /joined', { options: same }), 0), /ignoring/)
  for (const [kind, word] of [
    ['net', 'network'],
    ['ipc', 'IPC'],
    ['uts', 'UTS'],
  ]) {
    const unshared = await step('kept', 'true', { options: [`--container-unshare=${kind}`] })
    says(fails(unshared), new RegExp(`not in a separate ${word} namespace`))
  }
  await ends(first)
})

test('who joins gets the namespaces without asking', async () => {
  const first = await stays('apart', { image: true, options: ['--container-unshare=net,ipc,uts'] })
  const kinds = 'for kind in net ipc uts; do readlink /proc/self/ns/$kind; done'
  const inside = lines(await step('apart', kinds))
  const asked = lines(await step('apart', kinds, { options: ['--container-unshare=net'] }))
  assert.equal(asked, inside)
  const host = ['net', 'ipc', 'uts'].map((name) => `/proc/self/ns/${name}`)
  const outside = (await run(['readlink', ...host])).stdout.trim().split('\n')
  assert.is(inside.filter((one) => outside.includes(one)).length, 0)
  await ends(first)
})

test('no_exec beside a running one: its files, not its mounts', async () => {
  const first = await stays('kept')
  const seen = exits(await step('kept:no_exec', 'cat /file; test ! -e /tmp/private; echo three >> /file'), 0)
  says(seen, /one\ntwo/)
  says(await step('kept', 'cat /file'), /three/)
  await ends(first)
})

test('JOBID.STEPID joins the unnamed container of a running step', async () => {
  const plain = await unnamed('echo plain > /tmp/private; echo ready $SLURM_STEP_ID; exec sleep 300')
  await plain.sees(/ready \d+/)
  const [, id] = /ready (\d+)/.exec(plain.output()) ?? []
  prints(await step(`${job}.${id}`, 'cat /tmp/private'), ['plain'])
  says(await enroot('list'), new RegExp(`pyxis_${job}.${id}`))
  await ends(plain)
  saysNot(await enroot('list'), new RegExp(`pyxis_${job}.${id}`))
})

test('an unnamed one is off the list within 10 s of its end, and 5 s of its cancellation', async () => {
  const go = join(at.cluster.shared, 'listed')
  for (const [isCanceled, limitMs] of [
    [false, 10_000],
    [true, 5000],
  ] as const) {
    const wait = isCanceled ? 'exec sleep 300' : `until test -e ${go}; do sleep 0.1; done`
    const mount = `--container-mounts=${at.cluster.shared}`
    const plain = await unnamed(`echo ready $SLURM_STEP_ID; ${wait}`, [mount])
    await plain.sees(/ready \d+/)
    const id = `${job}.${/ready (\d+)/.exec(plain.output())?.[1]}`
    says(await enroot('list'), new RegExp(`pyxis_${id}`))
    if (isCanceled) exits(await at.cluster.command(['scancel', id]), 0)
    else {
      writeFileSync(go, '')
      exits(await plain.done, 0)
    }
    const gone = async () => !(await enroot('list')).output.includes(`pyxis_${id}`)
    await until(`${id} off the list`, gone, limitMs)
    await plain.done
  }
})

test('what root inside mounts is seen by who joins, and not by no_exec', async () => {
  const options = ['--container-remap-root']
  const mount = 'busybox mkdir /mymnt && mount -t tmpfs none /mymnt && touch /mymnt/in'
  const first = at.cluster.start(
    words('mounted', `${mount} && echo ready; exec sleep 300`, { image: true, options }),
  )
  await first.sees(/ready/)
  prints(await step('mounted', 'ls /mymnt', { options }), ['in'])
  prints(await step('mounted:no_exec', 'ls /mymnt', { options }), [])
  await ends(first)
})

test('two steps that make one name at once take turns, and share it', async () => {
  const made = await Promise.all([1, 2].map((id) => step('raced', `echo ${id} >> /who`, { image: true })))
  for (const one of made) exits(one, 0)
  prints(await step('raced', 'cat /who'), ['1', '2'])
})

test('five made at once, then fifty short steps at once on them', async () => {
  const names = [1, 2, 3, 4, 5].map((index) => `many${index}`)
  const made = await Promise.all(names.map((name) => step(name, `echo ${name} > /who`, { image: true })))
  for (const one of made) exits(one, 0)
  const all = Array.from({ length: 50 }, (_, index) => names[index % 5] ?? '')
  const runs = await Promise.all(all.map((name) => step(`${name}:no_exec`, 'cat /who')))
  for (const [index, one] of runs.entries()) prints(one, [all[index] ?? ''])
})

test('berth ps, containers, exec and rm', async () => {
  const first = await stays('kept')
  says(await berth('ps'), /kept/)
  const row = JSON.parse(exits(await berth('containers', '--json'), 0).stdout).find(
    ({ name }: { name: string }) => name === 'kept',
  )
  assert.is(row.running.length, 1)
  // A name costs what is changed in it, not the image.
  assert.ok(row.size > 0 && row.size < 65_536, String(row.size))
  prints(await berth('exec', 'kept', '--', 'cat', '/tmp/private'), ['mine'])
  prints(await berth('exec', row.running[0].step, '--', 'cat', '/tmp/private'), ['mine'])
  refuses(await berth('containers', 'rm', 'kept'), /BERTH_ENAMERUNNING/)
  await ends(first)
  exits(await berth('containers', 'rm', 'kept'), 0)
  refuses(await step('kept', 'true'), /does not exist/)
  refuses(await berth('containers', 'rm', 'kept'), /BERTH_ENOSUCHCONTAINER/)
})

test('what is removed by force while it runs goes when it ends', async () => {
  const first = await stays('forced', { image: true })
  exits(await berth('containers', 'rm', '--force', 'forced'), 0)
  exits(await step('forced', 'test ! -e /tmp/private', { image: true }), 0)
  await ends(first)
  const trash = join(at.cluster.nodes[0]?.storeDir ?? '', 'containers/.trash')
  await until('an empty trash', async () => readdirSync(trash).length === 0)
})

test('the image below a container is not removed, and names are a user’s own', async () => {
  exits(await step('based', 'true', { image: true }), 0)
  const program = [join(distOf(at.cluster), 'node'), join(distOf(at.cluster), 'bin/berth.js')]
  const root = (...args: string[]) => run([...program, ...args], { env: environment() })
  refuses(await root('rm', at.images.busybox), /BERTH_EIMAGEUSED.*based/)
  exits(await root('gc', '--all'), 0)
  exits(await step('based', 'true'), 0)
  const other = await at.cluster.command([...program, 'containers'], {
    user: USER_B.name,
    env: environment(),
  })
  saysNot(exits(other, 0), /based/)
  says(await root('containers'), new RegExp(`${USER_A.uid}/global/based`))
})

test('enroot lists, joins and removes by the names of pyxis', async () => {
  const first = await stays('tools', { image: true })
  says(exits(await enroot('list'), 0), /^pyxis_tools$/m)
  const table = exits(await enroot('list', '-f'), 0).stdout
  const [, pid = ''] = /^pyxis_tools\s+(\d+)\s+sleep/m.exec(table) ?? []
  exits(await enroot('exec', pid, 'true'), 0)
  prints(await enroot('exec', pid, 'cat', '/tmp/private'), ['mine'])
  const there = 'pwd; echo $OF_FIRST $SLURM_JOB_ID $MINE'
  prints(await enroot('exec', '-e', 'MINE=x=y', pid, 'sh', '-c', there), ['/etc', `1 ${job} x=y`])
  await ends(first)
  prints(await enroot('start', 'pyxis_tools', 'echo', 'started'), ['started'])
  exits(await step('tools', 'touch /kept'), 0)
  says(
    fails(await enroot('remove', '-f', 'pyxis_tools', 'pyxis_never')),
    /no container.*pyxis_never|pyxis_never.*no container/,
  )
  refuses(await step('tools', 'true'), /does not exist/)
  says(fails(await enroot('remove', '-f', 'pyxis_tools')), /no container/)
  exits(await step('tools', 'test ! -e /kept', { image: true }), 0)
})

test('enroot imports a file and makes a container of it; what it cannot it says', async () => {
  const file = join(at.cluster.shared, 'imported.sqsh')
  exits(await enroot('import', '-o', file, `docker://${at.images.busybox}`), 0)
  assert.is(statSync(file).mode & 0o200, 0o200)
  exits(await enroot('create', '-n', 'pyxis_made', file), 0)
  says(fails(await enroot('create', '-n', 'pyxis_made', file)), /already exists/i)
  prints(await step('made', 'echo inside'), ['inside'])
  // One without the prefix is enroot's own, by the name of its file where none is given.
  exits(await enroot('create', file), 0)
  says(exits(await enroot('list'), 0), /^imported$/m)
  const mounted = ['-m', `${at.cluster.shared}:/in:none:x-create=dir,bind,ro`]
  const script = 'touch /in/x || touch /kept'
  exits(await enroot('start', '--rw', ...mounted, 'imported', 'sh', '-c', script), 0)
  exits(await enroot('start', 'imported', 'ls', '/kept'), 0)
  refuses(await step('imported', 'true'), /does not exist/)
  prints(await enroot('start', file, 'echo', 'from a file'), ['from a file'])
  exits(await step('made', 'echo changed > /file'), 0)
  const saved = join(at.cluster.shared, 'exported.sqsh')
  exits(await enroot('export', '-o', saved, 'pyxis_made'), 0)
  says(fails(await enroot('export', '-o', saved, 'pyxis_made')), /File already exists/)
  prints(await step('again', 'cat /file', { options: [`--container-image=${saved}`] }), ['changed'])
  says(fails(await enroot('bundle', file)), /not "bundle"/)
})

test('an imported file says all of its image: variables, directory and entrypoint', async () => {
  const file = join(at.cluster.shared, 'told.sqsh')
  exits(await enroot('import', '-o', file, `docker://${at.images.debian}`), 0)
  const show = (image: string) => {
    const options = [`--container-image=${image}`, '--container-entrypoint']
    return step('told', 'env | sort; pwd', { options: [...options, '--container-readonly'] })
  }
  const same = (list: string[]) => list.filter((line) => !/^(SRUN|HOSTNAME|SLURM|TMPDIR|PMI|_=)/.test(line))
  const [wanted, found] = [lines(await show(at.images.debian)), lines(await show(file))]
  assert.ok(same(wanted).length > 2)
  assert.equal(same(found), same(wanted))
})

test('enroot imports from a daemon by way of its own client', async () => {
  const bin = join(at.cluster.shared, 'bin')
  const { busybox } = await buildImages()
  await must(['mkdir', '-p', bin])
  // Docker's client in miniature; what it writes is a real archive.
  writeFileSync(
    join(bin, 'docker'),
    `#!/bin/sh\n[ "$1 $2 $4 $5" = "save -o -- lab/sim:1" ] || { echo "no such image: $5" >&2; exit 1; }\nexec cp ${bin}/../sim.tar "$3"\n`,
    { mode: 0o755 },
  )
  const archive = join(at.cluster.shared, 'sim.tar')
  await must(['skopeo', 'copy', '-q', `oci:${busybox}`, `docker-archive:${archive}:lab/sim:1`])
  await must(['chmod', '-R', 'a+rX', bin, archive])
  const run = (uri: string, file: string) =>
    at.cluster.command([join(distOf(at.cluster), 'compat/enroot'), 'import', '-o', file, uri], {
      env: { ...environment(), PATH: `${bin}:${process.env.PATH}` },
    })
  const file = join(at.cluster.shared, 'daemon.sqsh')
  exits(await run('dockerd://lab/sim:1', file), 0)
  const from = [`--container-image=${file}`]
  prints(await step('daemon', 'echo inside', { options: from }), ['inside'])
  says(fails(await run('dockerd://lab/sim:1', file)), /already exists/)
  says(fails(await run('dockerd://other', `${file}.2`)), /no such image: other/)
  // A step asks no podman, and says how to go on.
  const direct = await step('direct', 'true', { options: ['--container-image=podman://lab/sim:1'] })
  refuses(direct, /podman save -o x\.tar/)
})

test('with container_scope=job a name is the job’s, and goes with it', async () => {
  const cluster = await startCluster({ nodes: [{}], plugArgs: ['container_scope=job', 'use_squashfuse=1'] })
  try {
    const images = await publishImages(await startRegistry(cluster.undo))
    const folder = join(cluster.nodes[0]?.storeDir ?? '', 'containers', String(USER_A.uid))
    const script = [
      '#!/bin/sh',
      `srun --container-name=own --container-image=${images.busybox} sh -c 'echo here > /file'`,
      'srun --container-name=own cat /file',
      'gone=pyxis_$SLURM_JOB_ID"_gone"',
      `srun --container-name=gone --container-image=${images.busybox} true`,
      `srun -n1 ${distOf(cluster)}/compat/enroot remove -f "$gone" && echo removed`,
      'srun --container-name=gone true || echo refused',
    ].join('\n')
    const seen = exits(await cluster.batch(script, ['-N1', '-n1']), 0)
    prints(says(seen, /a container with name "gone" does not exist/), ['here', 'removed', 'refused'])
    await until('its end', async () => (await run(['find', folder, '-mindepth', '2'])).stdout === '')
    fails(await cluster.srun(['-N1', '-n1', '--container-name=own', 'true']))
    // An argument of pyxis' that means nothing here is told to the operator once.
    const log = readFileSync(join(cluster.nodes[0]?.runtimeDir ?? '', 'worker.log'), 'utf8')
    assert.is(log.match(/use_squashfuse has no meaning here/g)?.length, 1, log)
  } finally {
    await cluster.stop()
  }
  assert.equal(await leftForGood(cluster.dir), [])
})

test.run()
