// SPDX-License-Identifier: Apache-2.0
/** One table of behaviours, run on every engine that this machine has: what users see is the same. */
import { existsSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { EngineRow } from '../../src/engine/describe.js'
import { must, type Running, run, until } from '../cluster/command.js'
import { readOr, sendSignal } from '../cluster/daemon.js'
import { exits, fails, lines, prints, refuses, says } from '../cluster/expect.js'
import { useCluster } from '../cluster/fixture.js'
import { otherRelease, publishLike } from '../cluster/images.js'
import { compileProbe, OVER_NODES, PROBE_OVER_NODES, publishMpi } from '../cluster/mpi_images.js'
import { USER_A } from '../cluster/users.js'
import { suite } from '../suite.js'
import { dockerClient, startDockerd } from './dockerd.js'
import { ENGINE_CASES, type EngineCase, stepWords, without } from './engines.js'
import { isAccounted, losesItsWorker } from './held.js'
import { holders, leavesNothing, ownProcesses, tasks } from './lookout.js'
import { ENGINE_PATH, installStandins, removeStandins, SETUID_STANDINS } from './standins.js'

const test = suite('engines')
const usesCgroups = existsSync('/sys/fs/cgroup/freezer') || existsSync('/sys/fs/cgroup/cgroup.controllers')
/** Slurm 22.05 limits memory without systemd only by this hierarchy. */
const limitsMemory = existsSync('/sys/fs/cgroup/memory/cgroup.procs')
const CGROUP_CONF = [
  'CgroupAutomount=no',
  'ConstrainCores=no',
  'IgnoreSystemd=yes',
  ...(limitsMemory ? ['ConstrainRAMSpace=yes', 'ConstrainSwapSpace=yes'] : []),
  '',
].join('\n')
/** Of any Slurm: what sstat tells is asked of the processes that are the step's. */
const ACCOUNTING_CONF = ['JobAcctGatherType=jobacct_gather/linux']
const MEMORY_CONF = limitsMemory ? ['TaskPlugin=task/cgroup', 'SelectTypeParameters=CR_Core_Memory'] : []
/** Of a vendor's file: a node of the host under another name, a file and a variable. */
const DEVICE = 'stand-in.test/part=0'
const CDI = `cdiVersion: 0.5.0
kind: stand-in.test/part
devices:
  - name: "0"
    containerEdits:
      env: [CDI_PART=zero]
      deviceNodes: [{ path: /dev/part0, hostPath: /dev/zero }]
      mounts: [{ hostPath: ${SETUID_STANDINS}/part, containerPath: /opt/part, options: [ro, bind] }]
`
const at = useCluster(test, {
  plugArgs: [
    `cdi_dirs=${SETUID_STANDINS}`,
    ...[`engine_path=${ENGINE_PATH}`, 'engine_args=allow'],
    `engines=${ENGINE_CASES.map(({ name }) => name).join(',')}`,
  ],
  slurmConf: [...ACCOUNTING_CONF, ...MEMORY_CONF],
  ...(usesCgroups ? { proctrack: 'cgroup', confFiles: () => ({ 'cgroup.conf': CGROUP_CONF }) } : {}),
})
const only = process.env.BERTH_TEST_ENGINE ?? ''
const noMpi = without('mpicc.mpich')
let mpich = ''
let volume = ''
const isWanted = (name: string) => only === '' || only === name
const docker = ENGINE_CASES.find(({ name }) => isWanted(name) && name === 'docker')

test.before(async () => {
  const source = join(import.meta.dirname, 'neighbours.c')
  if (docker !== undefined && docker.missing === undefined)
    for (const node of at.cluster.nodes) at.cluster.undo.push('dockerd', await startDockerd(node))
  await must(['cc', '-static', '-O2', '-o', join(at.cluster.shared, 'neighbours'), source])
  await installStandins()
  writeFileSync(join(SETUID_STANDINS, 'part.yaml'), CDI)
  writeFileSync(join(SETUID_STANDINS, 'part'), 'of the vendor\n')
  if (noMpi === undefined)
    mpich = await publishMpi(at.registry, 'mpich-trixie', {
      probe: await compileProbe(SETUID_STANDINS, 'mpicc.mpich'),
    })
  volume = await publishLike(at.registry, 'volume', { volumes: ['/made/for/it'] })
  at.registry.forget()
})
test.after(removeStandins)

/** Options of one step, the command after them. */
function inside(engine: EngineCase, args: readonly string[], ...command: string[]): string[] {
  return stepWords(engine, at.images.debian, args, ...command)
}

/** Each line is one fact. */
const FACTS = `
echo "release $(. /etc/os-release; echo $VERSION_CODENAME)"
echo "ids $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort | tr '\\n' ' ')"
echo "name $(id -un)"
echo "image's variable $BERTH_TEST_IMAGE, the job's $FROM_JOB"
echo "library path $LD_LIBRARY_PATH, locale $LC_ALL"
echo "device $CDI_PART $(head -c 2 /dev/part0 | wc -c) $(cat /opt/part)"
echo "path $(hello-tool x)"
echo "cwd $PWD"
echo "root's file $(cat /opt/tool/secret), of $(stat -c %u /opt/tool/secret)"
touch /opt/tool/new 2>/dev/null && echo "root can be written"
touch /ro/new 2>/dev/null && echo "ro can be written"
echo "mounted $(cat /ro/given)"
echo hello >/rw/$SLURMD_NODENAME
read line; echo "stdin $line"
ls -a / | grep berth
echo "privileges $(grep -c 'NoNewPrivs:.1' /proc/self/status)"
echo "cgroup $(grep -c "job_$SLURM_JOB_ID/step_$SLURM_STEP_ID" /proc/self/cgroup)"
`

/** Ranks of a node reach each other, and its network, by these. */
const NAMESPACES = 'for name in ipc net pid; do readlink /proc/self/ns/$name; done'

function factsOf(engine: EngineCase): string[] {
  const ids = [USER_A.uid, ...USER_A.groups.map(([, gid]) => gid)].sort().join(' ')
  return [
    `release ${otherRelease()}`,
    `ids ${USER_A.uid} ${USER_A.uid} ${ids} `,
    `name ${USER_A.name}`,
    "image's variable from-image, the job's here",
    "library path the job's, locale ",
    'device zero 2 of the vendor',
    'path hello from the image, x',
    'cwd /workspace',
    `root's file only the image's root may read this, of ${USER_A.uid}`,
    'mounted by the host',
    'stdin typed',
    'privileges 1',
    ...(engine.variable === undefined ? [] : [engine.variable]),
  ]
}

async function tellsFacts(engine: EngineCase): Promise<void> {
  const { shared } = at.cluster
  const dir = join(shared, engine.name)
  await must(['install', '-d', '-o', USER_A.name, dir, join(dir, 'ro'), join(dir, 'rw')])
  await must(['sh', '-c', `echo by the host >${dir}/ro/given`])
  const mounts = `--container-mounts=${dir}/ro:/ro:ro,${dir}/rw:/new/rw,${dir}/rw:/rw`
  const more = ['--container-env=LD_LIBRARY_PATH', `--container-device=${DEVICE}`]
  const script = `${FACTS}${NAMESPACES}\n${engine.variable === undefined ? '' : `env | grep '^${engine.variable.split('=')[0]}='`}`
  const seen = exits(
    await at.cluster.srun(inside(engine, ['-N2', '-n2', mounts, ...more], 'sh', '-c', script), {
      // The image has variables of two of these names.
      env: { FROM_JOB: 'here', BERTH_TEST_IMAGE: "the job's", LD_LIBRARY_PATH: "the job's", LC_ALL: 'C' },
      input: 'typed\n',
    }),
    0,
  )
  const told = seen.stdout.split('\n').filter((line) => line !== '' && !line.startsWith('cgroup '))
  const facts = factsOf(engine)
  const bare = lines(await at.cluster.srun(['-N2', '-n2', 'sh', '-c', NAMESPACES]))
  assert.equal(told.sort(), [...facts, ...facts, ...bare].sort())
  if (usesCgroups) says(seen, /^cgroup [1-9]/m)
  for (const node of at.cluster.nodes) assert.is(statSync(join(dir, 'rw', node.name)).uid, USER_A.uid)
}

/** The script of a batch job, and a step that has its options from an allocation. */
async function runsInJobs(engine: EngineCase): Promise<void> {
  const [name, value] = (engine.variable ?? 'NONE=').split('=', 2)
  const tell = `. /etc/os-release; echo "$VERSION_CODENAME $(id -u) $${name}"`
  const told = `${otherRelease()} ${USER_A.uid} ${value}`
  prints(await at.cluster.batch(`#!/bin/sh\n${tell}\n`, inside(engine, ['-n1'])), [told])
  const allocated = inside(engine, ['-N1', '-n2'], 'srun', 'sh', '-c', tell)
  prints(await at.cluster.salloc(allocated), [told, told])
}

async function sharesMemory(engine: EngineCase): Promise<void> {
  const mount = `--container-mounts=${at.cluster.shared}/neighbours:/usr/bin/neighbours:ro`
  const apart = ['-N1', '-n1', '--container-unshare=pid']
  prints(await at.cluster.srun(inside(engine, apart, 'cat', '/proc/1/comm')), ['berth-init'])
  prints(await at.cluster.srun(inside(engine, ['-N1', '-n4', mount], 'neighbours', '4')), [
    'rank 0 read 101',
    'rank 1 read 102',
    'rank 2 read 103',
    'rank 3 read 100',
  ])
}

async function endsAlike(engine: EngineCase): Promise<void> {
  const script = `case $SLURM_PROCID in
0) exit 0 ;; 1) exit 3 ;; 2) kill -SEGV $$ ;; 3) kill -TERM $$ ;; esac`
  const args = ['-N1', '-n4', '-K0']
  const bare = await at.cluster.srun([...args, 'sh', '-c', script])
  const contained = await at.cluster.srun(inside(engine, args, 'sh', '-c', script))
  assert.is(contained.code, bare.code)
  for (const ending of [
    /task 1: Exited with exit code 3/,
    /task 2: Segmentation fault/,
    /task 3: Terminated/,
  ])
    says(contained, ending)
  says(exits(await at.cluster.srun(inside(engine, ['-n1'], 'no-such-program')), 127), /no-such-program/)
  exits(await at.cluster.srun(inside(engine, ['-n1'], '/opt/tool/bin/not-executable')), 126)
}

async function hasTerminal(engine: EngineCase): Promise<void> {
  const words = inside(engine, ['-n1', '--pty'], 'sh', '-c', "'tty && echo $((6*7))'")
  const seen = await at.cluster.command(['script', '-qec', ['srun', ...words].join(' '), '/dev/null'])
  says(says(seen, /\/dev\/pts\/\d+/), /42/)
}

async function isSignalled(engine: EngineCase): Promise<void> {
  const job = `signals-${engine.name}`
  const step = startEndless(engine, job)
  const cancel = async (...words: string[]) =>
    exits(await run(['scancel', ...words, '-n', job], { env: { SLURM_CONF: at.cluster.conf } }), 0)
  await step.sees(/up[\s\S]*up/)
  await cancel('-s', 'USR1')
  await step.sees(/got usr1[\s\S]*got usr1/)
  await cancel('-s', 'TSTP')
  // What a shell runs meanwhile may be stopped by the first; Slurm sends both when it comes to it, in any order.
  await until('both tasks to be told to stop and to go on', async () => {
    await cancel('-s', 'CONT')
    return ['got tstp', 'got cont'].every((words) => step.output().split(words).length > 2)
  })
  const held = holders(at.cluster)
  assert.is(held.length, engine.name === 'native' ? 0 : 1)
  if (engine.name === 'docker') for (const pid of held) isPowerless(pid)
  await cancel()
  const ended = await step.done
  assert.is.not(ended.code, 0)
  await leavesNothing(at.cluster, engine.name, held)
}

/** What root's daemon runs for a user has no more rights than they. */
function isPowerless(pid: string): void {
  const status = readOr(`/proc/${pid}/status`)
  assert.match(status, new RegExp(`^Uid:(\\t${USER_A.uid}){4}$`, 'm'))
  for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    assert.match(status, new RegExp(`^${set}:\\t0+$`, 'm'))
}

/** Two tasks that say which signals come. */
function startEndless(engine: EngineCase, job: string): Running {
  const traps = ['USR1', 'TSTP', 'CONT'].map((name) => `trap 'echo got ${name.toLowerCase()}' ${name};`)
  const script = `${traps.join(' ')} echo up; while :; do sleep 0.1; done`
  return at.cluster.start(['srun', ...inside(engine, ['-N1', '-n2', '-J', job], 'sh', '-c', script)])
}

async function isKilled(engine: EngineCase): Promise<void> {
  const step = startEndless(engine, `killed-${engine.name}`)
  await step.sees(/up[\s\S]*up/)
  const held = holders(at.cluster)
  const own = tasks(at.cluster)
  assert.is(own.length, 2)
  for (const pid of own) sendSignal(pid, 'SIGKILL')
  says(fails(await step.done), /Killed/)
  await leavesNothing(at.cluster, engine.name, held)
}

/** Words of users' for these would be root's, or are nobody's: they fail by what berth does for them. */
const WITHOUT_WORDS = ['native', 'docker']

async function failsAlike({ name }: EngineCase): Promise<void> {
  const wordless = WITHOUT_WORDS.includes(name)
  const wrong = wordless ? '--container-mounts=/no/such:/there' : '--container-engine-args=--no-such-word'
  const seen = await at.cluster.srun(inside({ name }, ['-n1', wrong], 'echo', 'ran'))
  refuses(exits(seen, 125), wordless ? /BERTH_EMOUNT.*\/no\/such/ : /BERTH_EENGINESTART.*no-such-word/)
  assert.is(seen.stdout, '')
}

async function refusesWords(name: string): Promise<void> {
  const others = ENGINE_CASES.filter((one) => !WITHOUT_WORDS.includes(one.name)).map((one) => one.name)
  const image = `--container-image=${at.registry.host}/no-such-image:1`
  const words = ['-n1', `--container-engine=${name}`, '--container-engine-args=--any', image, 'true']
  const said = `BERTH_EABILITY.* engine ${name} cannot do --container-engine-args\nhint: engines that can: `
  refuses(await at.cluster.srun(words), new RegExp(`${said}${others.join(', ')}\n`))
}

async function runsHooks(engine: EngineCase): Promise<void> {
  const above = `/home/${USER_A.name}/.config`
  const config = `${above}/enroot`
  const directories = [above, config, `${config}/environ.d`, `${config}/hooks.d`]
  await must(['install', '-d', '-o', USER_A.name, ...directories])
  writeFileSync(`${config}/environ.d/50-own.env`, 'FROM_FILE=of the file\n')
  const hook =
    '#!/bin/sh\necho "FROM_HOOK=of the hook" >>"$ENROOT_ENVIRON"\necho made >"$ENROOT_ROOTFS/opt/hooked"\n'
  writeFileSync(`${config}/hooks.d/50-own.sh`, hook, { mode: 0o755 })
  try {
    const tell = ['sh', '-c', 'echo "$FROM_FILE, $FROM_HOOK"; cat /opt/hooked']
    const told = ['of the file, of the hook', 'made']
    prints(await at.cluster.srun(inside(engine, ['-N1', '-n2'], ...tell)), [...told, ...told])
  } finally {
    rmSync(config, { recursive: true })
  }
}

async function speaksMpi(engine: EngineCase): Promise<void> {
  const words = stepWords(engine, mpich, ['-N2', '-n2', '--mpi=pmi2'], ...PROBE_OVER_NODES)
  const seen = exits(await at.cluster.srun(words, { env: OVER_NODES }), 0)
  // The node's own, whichever the image has.
  for (const rank of [0, 1]) says(seen, new RegExp(`rank ${rank} of 2 sum 3 .*MPICH Version: +4\\.0`))
}

async function isWritten(engine: EngineCase): Promise<void> {
  const name = `--container-name=${engine.name}:create`
  const write = ['-n1', '-w', 'n1', '--container-writable', '--container-remap-root', name]
  prints(await at.cluster.srun(inside(engine, write, 'sh', '-c', 'id -u; echo kept >/opt/tool/new')), ['0'])
  const file = join(at.cluster.shared, `${engine.name}.sqsh`)
  const again = ['-n1', '-w', 'n1', `--container-name=${engine.name}`, `--container-save=${file}`]
  prints(await at.cluster.srun([...again, `--container-engine=${engine.name}`, 'cat', '/opt/tool/new']), [
    'kept',
  ])
  await isSaved(file)
  const fill = 'echo kept >/opt/tool/new; head -c 40M /dev/zero >/fill && exit 9; rm /fill'
  const disk = ['-n1', '-w', 'n1', '--container-writable=disk:32M', `--container-save=${file}`]
  const full = exits(await at.cluster.srun(inside(engine, disk, 'sh', '-c', fill)), 0)
  says(full, /No space left on device/)
  await isSaved(file)
}

async function isSaved(file: string): Promise<void> {
  const listed = await must(['unsquashfs', '-l', file])
  assert.match(listed.stdout, /opt\/tool\/new/)
  assert.not.match(listed.stdout, /berth-hold/)
  rmSync(file)
}

async function isLimited(engine: EngineCase): Promise<void> {
  const script = 'head -c 200m /dev/zero | tail -c 150m | wc -c'
  says(
    fails(await at.cluster.srun(inside(engine, ['-n1', '--mem=64M'], 'sh', '-ec', script))),
    /Out Of Memory/,
  )
}

async function writesVolume(engine: EngineCase): Promise<void> {
  const script = 'cd /made/for/it && echo x > file && cat file; touch /no 2>&1 | grep -o Read-only'
  prints(await at.cluster.srun(stepWords(engine, volume, ['-n1'], 'sh', '-c', script)), ['x', 'Read-only'])
}

const BEHAVIOURS: readonly (readonly [string, (engine: EngineCase) => Promise<void>])[] = [
  ['two nodes, image, ids, variables, directory, mounts, stdin, the step’s cgroup', tellsFacts],
  ['sbatch and salloc', runsInJobs],
  ['four tasks of a node share memory and read each other’s', sharesMemory],
  ['exit codes and deaths by signal are those of bare Slurm', endsAlike],
  ['a terminal', hasTerminal],
  ['signals arrive, and after scancel nothing is left', isSignalled],
  ['nothing is left of tasks that are killed', isKilled],
  ['the worker killed: the task goes on, the engine goes', (engine) => losesItsWorker(at, engine)],
  ['memory and time of the program are accounted to the step', (engine) => isAccounted(at, engine)],
  ['a VOLUME of the image can be written though the root cannot', writesVolume],
  ['what cannot start ends with 125 and runs nothing', failsAlike],
  ['root inside, a container with a name, a layer on disk with its limit, both saved as images', isWritten],
]

for (const engine of ENGINE_CASES.filter(({ name }) => isWanted(name))) {
  const called = engine.standIn === true ? `${engine.name} (stand-in)` : engine.name
  for (const [behaviour, check] of BEHAVIOURS)
    test.needs(engine.missing, `${called}: ${behaviour}`, () => check(engine))
  test.needs(engine.missing ?? noMpi, `${called}: MPI over two nodes with PMI2`, () => speaksMpi(engine))
  const noLimit = limitsMemory ? undefined : 'no memory cgroup that Slurm can use without systemd'
  test.needs(engine.missing ?? noLimit, `${called}: the step’s memory limit holds`, () => isLimited(engine))
}

for (const engine of ENGINE_CASES.filter(({ name }) => name === 'enroot' && isWanted(name)))
  test.needs(engine.missing, 'enroot: environ.d and hooks.d of the user', () => runsHooks(engine))

for (const name of WITHOUT_WORDS.filter(isWanted))
  test(`${name}: what it cannot do is refused before an image is asked for`, () => refusesWords(name))

test('the list of engines says what is there', async () => {
  const node = at.cluster.nodes[0]
  // The worker comes with a step; there was none where the engine is missing.
  exits(await at.cluster.srun(inside({ name: 'native' }, ['-n1', '-w', 'n1'], 'true')), 0)
  const words = ['engines', '--json', `--runtime-dir=${node?.runtimeDir}`]
  const seen = lines(
    await at.cluster.command([join(import.meta.dirname, '../../dist/bin/berth.js'), ...words]),
  )
  const rows = JSON.parse(seen.join('')) as EngineRow[]
  for (const { name, missing } of ENGINE_CASES.filter((one) => isWanted(one.name))) {
    const row = rows.find((one) => one.name === name)
    assert.is(row?.state, missing === undefined ? 'ready' : 'missing', name)
    // Shifter does not tell its version.
    assert.match(row?.version ?? '', missing === undefined ? /^(\d+\.\d+|shifter)/ : /^$/, name)
    assert.match(row?.problem ?? '', missing === undefined ? /^$/ : /^no \S+ in \//, name)
    assert.is(row?.abilities.engineArgs, !WITHOUT_WORDS.includes(name), name)
  }
})

test('each node fetched each part of the images once for all engines', () => {
  const fetched = at.registry.requests().filter((line) => line.startsWith('GET ') && line.includes('/blobs/'))
  assert.ok(fetched.length > 0)
  for (const line of fetched)
    assert.ok(fetched.filter((other) => other === line).length <= at.cluster.nodes.length, line)
})

test('in the end nothing of any engine is left', () =>
  until('the end of all engines', () => ownProcesses(at.cluster).length === 0))

if (docker !== undefined)
  test.needs(docker.missing, 'docker has no container left on any node', async () => {
    for (const node of at.cluster.nodes)
      assert.equal(lines(await run([...dockerClient(node), 'ps', '--all', '--quiet'])), [])
  })

test.run()
