// SPDX-License-Identifier: Apache-2.0
/** One table of behaviours, run on every engine that this machine has: what users see is the same. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { must, run, until } from '../cluster/command.js'
import { exits, fails, lines, prints, says } from '../cluster/expect.js'
import { useCluster } from '../cluster/fixture.js'
import { otherRelease } from '../cluster/images.js'
import { USER_A } from '../cluster/users.js'
import { suite } from '../suite.js'
import { startDockerd } from './dockerd.js'
import { APPTAINER_DIR, ENGINE_CASES, type EngineCase } from './engines.js'

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
const MEMORY_CONF = limitsMemory ? ['TaskPlugin=task/cgroup', 'SelectTypeParameters=CR_Core_Memory'] : []
/** Slurm names cgroups by user, job and step: those of another cluster on this machine must be others. */
const FIRST_JOB = 1000 * (1 + Math.floor(Math.random() * 60_000))
/** Stand-ins for engines that Debian has not, before the node's own programs; without them where the real ones are. */
const STANDINS = join(import.meta.dirname, 'standins')
/** Those that are setuid root, for one user, while this runs. */
const SETUID_STANDINS = `/var/tmp/berth-standins-${process.pid}`
const ENGINE_PATH =
  process.env.ENGINE_PATH ??
  `${SETUID_STANDINS}:${APPTAINER_DIR}:${STANDINS}:/usr/local/bin:/usr/sbin:/usr/bin:/bin`
const at = useCluster(test, {
  plugArgs: [
    ...[`engine_path=${ENGINE_PATH}`, 'engine_args=allow'],
    `engines=${ENGINE_CASES.map(({ name }) => name).join(',')}`,
  ],
  slurmConf: [`FirstJobId=${FIRST_JOB}`, ...MEMORY_CONF],
  ...(usesCgroups ? { proctrack: 'cgroup', confFiles: () => ({ 'cgroup.conf': CGROUP_CONF }) } : {}),
})
const only = process.env.BERTH_TEST_ENGINE ?? ''
const isWanted = (name: string) => only === '' || only === name

test.before(async () => {
  const source = join(import.meta.dirname, 'neighbours.c')
  if (ENGINE_CASES.some(({ name, missing }) => isWanted(name) && name === 'docker' && missing === undefined))
    for (const node of at.cluster.nodes) at.cluster.undo.push('dockerd', await startDockerd(node))
  await must(['cc', '-static', '-O2', '-o', join(at.cluster.shared, 'neighbours'), source])
  mkdirSync(SETUID_STANDINS, { mode: 0o755 })
  const store = join(SETUID_STANDINS, 'store')
  await must(['install', '-d', '-o', USER_A.name, store])
  for (const name of ['shifter', 'sarus']) {
    const program = join(SETUID_STANDINS, name)
    const given = [`-DUSER=${USER_A.uid}`, `-DSTORE="${store}"`]
    await must(['cc', '-Wall', ...given, '-o', program, join(STANDINS, `${name}.c`)])
    chmodSync(program, 0o4755)
  }
})
test.after(() => rmSync(SETUID_STANDINS, { recursive: true, force: true }))

/** Options of one step, the command after them. */
function inside({ name, options = [] }: EngineCase, args: readonly string[], ...command: string[]): string[] {
  return [
    ...args,
    `--container-engine=${name}`,
    ...options,
    `--container-image=${at.images.debian}`,
    ...command,
  ]
}

/** Each line is one fact. */
const FACTS = `
echo "release $(. /etc/os-release; echo $VERSION_CODENAME)"
echo "ids $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort | tr '\\n' ' ')"
echo "name $(id -un)"
echo "image's variable $BERTH_TEST_IMAGE, the job's $FROM_JOB"
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

function factsOf(engine: EngineCase): string[] {
  const ids = [USER_A.uid, ...USER_A.groups.map(([, gid]) => gid)].sort().join(' ')
  return [
    `release ${otherRelease()}`,
    `ids ${USER_A.uid} ${USER_A.uid} ${ids} `,
    `name ${USER_A.name}`,
    "image's variable from-image, the job's here",
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
  const script = `${FACTS}${engine.variable === undefined ? '' : `env | grep '^${engine.variable.split('=')[0]}='`}`
  const seen = exits(
    await at.cluster.srun(inside(engine, ['-N2', '-n2', mounts], 'sh', '-c', script), {
      env: { FROM_JOB: 'here' },
      input: 'typed\n',
    }),
    0,
  )
  const told = seen.stdout.split('\n').filter((line) => line !== '' && !line.startsWith('cgroup '))
  const facts = factsOf(engine)
  assert.equal(told.sort(), [...facts, ...facts].sort())
  if (usesCgroups) says(seen, /^cgroup [1-9]/m)
  for (const node of at.cluster.nodes) assert.is(statSync(join(dir, 'rw', node.name)).uid, USER_A.uid)
}

async function sharesMemory(engine: EngineCase): Promise<void> {
  const mount = `--container-mounts=${at.cluster.shared}/neighbours:/usr/bin/neighbours:ro`
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
  const script = "trap 'echo got usr1' USR1; echo up; while :; do sleep 0.1; done"
  const step = at.cluster.start(['srun', ...inside(engine, ['-N1', '-n2', '-J', job], 'sh', '-c', script)])
  const cancel = async (...words: string[]) =>
    exits(await run(['scancel', ...words, '-n', job], { env: { SLURM_CONF: at.cluster.conf } }), 0)
  await step.sees(/up[\s\S]*up/)
  await cancel('-s', 'USR1')
  await step.sees(/got usr1[\s\S]*got usr1/)
  const held = holders()
  assert.is(held.length, engine.name === 'native' ? 0 : 1)
  await cancel()
  const ended = await step.done
  assert.is.not(ended.code, 0)
  await until(`the end of all of ${engine.name}`, () => ownProcesses().length === 0)
  assert.equal(
    held.filter((pid) => existsSync(`/proc/${pid}`)),
    [],
  )
  for (const node of at.cluster.nodes) assert.equal(readdirSync(join(node.runtimeDir, 'staging')), [])
}

/** What runs in this cluster's steps and around its engines: both have its directory in their environment. */
function ownProcesses(): string[] {
  return pids().filter(
    (pid) =>
      readOr(`/proc/${pid}/environ`).includes(`${at.cluster.dir}/`) &&
      !/slurm|node|munge|registry|keeper|scancel|srun|docker|containerd/.test(readOr(`/proc/${pid}/comm`)),
  )
}

/** Programs that engines hold containers with, below those. */
function holders(): string[] {
  const isShim = (pid: string) =>
    /^containerd-shim/.test(readOr(`/proc/${pid}/comm`)) &&
    readOr(`/proc/${pid}/cmdline`).includes(`${at.cluster.dir}/`)
  const own = new Set([...ownProcesses(), ...pids().filter(isShim)])
  const parent = (pid: string) => /^PPid:\s+(\d+)/m.exec(readOr(`/proc/${pid}/status`))?.[1] ?? '0'
  const isBelow = (pid: string): boolean => pid !== '0' && (own.has(pid) || isBelow(parent(pid)))
  return pids().filter((pid) => programOf(pid).includes('/.berth-hold') && isBelow(pid))
}

function programOf(pid: string): string {
  return readOr(`/proc/${pid}/cmdline`).split('\0')[0] ?? ''
}

function pids(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
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

const BEHAVIOURS: readonly (readonly [string, (engine: EngineCase) => Promise<void>])[] = [
  ['two nodes, image, ids, variables, directory, mounts, stdin, the step’s cgroup', tellsFacts],
  ['four tasks of a node share memory and read each other’s', sharesMemory],
  ['exit codes and deaths by signal are those of bare Slurm', endsAlike],
  ['a terminal', hasTerminal],
  ['signals arrive, and after scancel nothing is left', isSignalled],
  ['root inside, a container with a name, saved as an image', isWritten],
]

for (const engine of ENGINE_CASES.filter(({ name }) => isWanted(name))) {
  const called =
    engine.standIn === true && process.env.ENGINE_PATH === undefined
      ? `${engine.name} (stand-in)`
      : engine.name
  for (const [behaviour, check] of BEHAVIOURS)
    test.needs(engine.missing, `${called}: ${behaviour}`, () => check(engine))
  const noLimit = limitsMemory ? undefined : 'no memory cgroup that Slurm can use without systemd'
  test.needs(engine.missing ?? noLimit, `${called}: the step’s memory limit holds`, () => isLimited(engine))
}

test('the list of engines says what is there', async () => {
  const node = at.cluster.nodes[0]
  const words = ['engines', '--json', `--runtime-dir=${node?.runtimeDir}`]
  const seen = lines(
    await at.cluster.command([join(import.meta.dirname, '../../dist/bin/berth.js'), ...words]),
  )
  const rows = JSON.parse(seen.join('')) as { name: string; state: string; version: string }[]
  for (const { name, missing } of ENGINE_CASES) {
    const row = rows.find((one) => one.name === name)
    assert.is(row?.state, missing === undefined ? 'ready' : 'missing', name)
  }
})

test('in the end nothing of any engine is left', () =>
  until('the end of all engines', () => ownProcesses().length === 0, 30_000))

test.run()
