// SPDX-License-Identifier: Apache-2.0
/** --container-unshare=pid: processes of the step's own, with signals, exit codes and terminals as without. */
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { must, type Outcome, type Running, type RunOptions, until } from './command.js'
import { sendSignal } from './daemon.js'
import { exits, fails, lines, prints, refuses, says } from './expect.js'
import { useCluster } from './fixture.js'
import { stepDaemons } from './leftovers.js'

const test = suite('pid namespace')
const at = useCluster(test, { nodes: [{}] })
const OWN = '--container-unshare=pid'
const END_MS_MAX = 60_000

function words(options: readonly string[], command: string): string[] {
  return [...options, `--container-image=${at.images.debian}`, OWN, 'bash', '-c', command]
}

function srun(options: readonly string[], command: string, run: RunOptions = {}): Promise<Outcome> {
  return at.cluster.srun(words(options, command), run)
}

function start(options: readonly string[], command: string): Running {
  return at.cluster.start(['srun', ...words(options, command)])
}

function berth(...args: string[]): Promise<Outcome> {
  const [node] = at.cluster.nodes
  const line = readFileSync(join(node?.dir ?? '', 'plugstack.conf'), 'utf8')
  const dist = dirname(/\S+\/berth\.so/.exec(line)?.[0] ?? '')
  const env = { BERTH_RUNTIME_DIR: node?.runtimeDir ?? '' }
  return at.cluster.command([join(dist, 'node'), join(dist, 'bin/berth.js'), ...args], { env })
}

/** Processes of the node in a pid namespace, given as readlink prints it. */
function pidsIn(namespace: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/ns/pid`) === namespace ? [Number(name)] : []
    } catch {
      return []
    }
  })
}

/** The step that printed its namespace has left nothing there. */
async function isEmptied(output: string): Promise<void> {
  const namespace = /pid:\[\d+\]/.exec(output)?.[0] ?? ''
  assert.match(namespace, /^pid:/, output)
  await until(`the end of all in ${namespace}`, () => pidsIn(namespace).length === 0, END_MS_MAX)
}

test('one for all tasks of a step, in which /proc shows nothing else, and which ends with it', async () => {
  const sleeper = 'sleep 300 & readlink /proc/self/ns/pid'
  const check = `cat /proc/1/comm; test $$ -lt 100 && echo small; ls -d /proc/[0-9]* | wc -l; ${sleeper}`
  const seen = exits(await srun(['-n2'], check), 0)
  const found = lines(seen)
  assert.is(found.filter((line) => line === 'berth-init').length, 2, seen.output)
  assert.is(found.filter((line) => line === 'small').length, 2, seen.output)
  assert.ok(
    found.filter((line) => /^\d+$/.test(line)).every((count) => Number(count) < 20),
    seen.output,
  )
  assert.is(new Set(found.filter((line) => line.startsWith('pid:'))).size, 1)
  assert.is.not(
    readlinkSync('/proc/self/ns/pid'),
    found.find((line) => line.startsWith('pid:')),
  )
  await isEmptied(seen.output)
})

test('its first process is out of reach, also of root inside, and takes in orphans', async () => {
  const check = [
    'cat /proc/1/environ; ls /proc/1/fd/; kill -9 1; kill -STOP 1',
    'orphan=$(sleep 0.01 > /dev/null & echo $!)',
    // Nobody else waits for it: a zombie would keep its directory.
    'for i in $(seq 200); do test -e /proc/$orphan || break; read -t 0.1 < <(:); done',
    'test -e /proc/$orphan && cat /proc/$orphan/stat; cat /proc/1/comm; echo alive',
  ].join('; ')
  const seen = exits(await srun(['-n1', '--container-remap-root'], check), 0)
  says(seen, /environ: Permission denied/)
  says(seen, /\/proc\/1\/fd\/.*Permission denied/)
  assert.equal(lines(seen), ['berth-init', 'alive'])
})

test('exit codes are the program’s, a signal’s and the launcher’s', async () => {
  exits(await srun(['-n1'], 'exit 7'), 7)
  exits(await srun(['-n1'], 'kill -KILL $$'), 137)
  const missing = ['-n1', `--container-image=${at.images.debian}`, OWN, 'no-such-program']
  says(exits(await at.cluster.srun(missing), 127), /no-such-program: not found in the container/)
})

test('standard input, environment, working directory and several tasks are as without', async () => {
  const fed = await srun(['-n1', '--container-workdir=/usr/bin'], 'cat; pwd', { input: 'from outside\n' })
  prints(fed, ['from outside', '/usr/bin'])
  prints(await srun(['-n4'], 'echo $SLURM_PROCID'), ['0', '1', '2', '3'])
})

/** Counts what it gets; a second one would come within that time. */
const counting = (signal: string): string =>
  `trap "echo got; done=1" ${signal}; echo ready; while [ -z "$done" ]; do sleep 0.1; done; sleep 1; exit 3`

async function jobOf(name: string): Promise<string> {
  const list = async (): Promise<string> =>
    (await at.cluster.command(['squeue', '-h', '-n', name, '-o', '%A'])).stdout.trim()
  await until(`job ${name}`, async () => (await list()) !== '')
  return list()
}

test('a signal for the step reaches each command once', async () => {
  const step = start(['-n2', '-J', 'signaled'], counting('USR1'))
  await step.sees(/ready[\s\S]*ready/)
  exits(await at.cluster.command(['scancel', '-s', 'USR1', `${await jobOf('signaled')}.0`]), 0)
  assert.is(exits(await step.done, 3).stdout.match(/got/g)?.length, 2)
})

test('a terminal: job control, interrupts', async () => {
  const inner = 'tty; read -r _ _ _ _ group session _ front _ < /proc/$$/stat; echo $$ $group $session $front'
  const command = `srun -n1 --pty --container-image=${at.images.debian} ${OWN} bash -c '${inner}'`
  const seen = exits(await at.cluster.command(['script', '-qec', command, '/dev/null']), 0)
  says(seen, /\/dev\/pts\/\d+/)
  says(seen, /^(\d+) \1 \1 \1\r?$/m)
})

test('a container with a name: who joins is among its processes, from a step and by hand', async () => {
  const named = '--container-name=apart'
  const first = start(
    ['-n1', '-J', 'named', named],
    'echo $$ > /mine; readlink /proc/self/ns/pid; exec sleep 300',
  )
  await first.sees(/pid:\[\d+\]/)
  const job = await jobOf('named')
  const namespace = /pid:\[\d+\]/.exec(first.output())?.[0] ?? ''
  const look = 'readlink /proc/self/ns/pid; cat /proc/$(cat /mine)/comm'
  const join = ['srun', `--jobid=${job}`, '--overlap', '-n1', named, 'bash', '-c', look]
  prints(await at.cluster.command(join), [namespace, 'sleep'])
  prints(await berth('exec', 'apart', '--', 'bash', '-c', look), [namespace, 'sleep'])
  exits(await at.cluster.command(['scancel', job]), 0)
  await first.done
  await isEmptied(namespace)
  const plain = at.cluster.start([
    'srun',
    '-n1',
    '-J',
    'plain',
    named,
    'bash',
    '-c',
    'echo up; exec sleep 300',
  ])
  await plain.sees(/up/)
  const asks = ['srun', `--jobid=${await jobOf('plain')}`, '--overlap', '-n1', named, OWN, 'true']
  refuses(await at.cluster.command(asks), /not in a separate PID namespace/)
  exits(await at.cluster.command(['scancel', await jobOf('plain')]), 0)
  await plain.done
})

test('saved, with the exit code of the command', async () => {
  const path = join(at.cluster.shared, 'saved.sqsh')
  exits(await srun(['-n1', '--container-writable', `--container-save=${path}`], 'echo new > /new; exit 5'), 5)
  prints(await at.cluster.srun(['-n1', `--container-image=${path}`, 'cat', '/new']), ['new'])
})

test('ranks read each other’s memory', async () => {
  const program = join(at.cluster.shared, 'neighbours')
  await must(['cc', '-static', '-O2', '-o', program, join(import.meta.dirname, '../engine/neighbours.c')])
  const mount = `--container-mounts=${program}:/usr/bin/neighbours:ro`
  prints(await srun(['-n4', mount], 'exec neighbours 4'), [
    ...['rank 0 read 101', 'rank 1 read 102', 'rank 2 read 103', 'rank 3 read 100'],
  ])
})

/** A first task that says where it is, and that never ends; the others tell their end. */
const LONG = 'test $SLURM_PROCID = 0 && { sleep 301 & readlink /proc/self/ns/pid; exec sleep 300; }; '

test('scancel, a killed slurmstepd and a killed launcher leave nothing', async () => {
  const canceled = start(['-n2', '-J', 'canceled'], LONG)
  await canceled.sees(/pid:\[\d+\]/)
  exits(await at.cluster.command(['scancel', await jobOf('canceled')]), 0)
  await isEmptied((await canceled.done).output)
  await until('an idle node', async () => (await at.cluster.nodeState('n1')) === 'idle', END_MS_MAX)

  const orphan = start(['-n1', '-J', 'orphan'], LONG)
  await orphan.sees(/pid:\[\d+\]/)
  for (const pid of stepDaemons(at.cluster.dir)) sendSignal(pid, 'SIGKILL')
  await isEmptied(orphan.output())
  exits(await at.cluster.command(['scancel', await jobOf('orphan')]), 0)
  await orphan.done
  await until('an idle node', async () => (await at.cluster.nodeState('n1')) === 'idle', END_MS_MAX)
})

/** Launchers of tasks in a pid namespace: they are not in it themselves. */
function launchersOf(namespace: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    try {
      const waits = readlinkSync(`/proc/${name}/ns/pid_for_children`) === namespace
      return waits && readlinkSync(`/proc/${name}/ns/pid`) !== namespace ? [Number(name)] : []
    } catch {
      return []
    }
  })
}

test('a killed task leaves the others, and a killed worker all', async () => {
  const go = join(at.cluster.shared, 'go')
  const wait = `while [ ! -e ${go} ]; do read -t 0.1 < <(:); done; echo ended $SLURM_PROCID; exit 6`
  const options = ['-n2', '--kill-on-bad-exit=0', `--container-mounts=${at.cluster.shared}`]
  const step = start(options, `echo at $SLURM_PROCID; readlink /proc/self/ns/pid; ${wait}`)
  await step.sees(/pid:[\s\S]*pid:/)
  const namespace = /pid:\[\d+\]/.exec(step.output())?.[0] ?? ''
  const launchers = launchersOf(namespace)
  assert.is(launchers.length, 2)
  process.kill(launchers[0] ?? 0, 'SIGKILL')
  await until('the end of its command', () => pidsIn(namespace).length === 2, END_MS_MAX)
  process.kill(at.cluster.nodes[0]?.workerPid() ?? 0, 'SIGKILL')
  prints(await srun(['-n1', '--overlap'], 'echo another'), ['another'])
  writeFileSync(go, '')
  const seen = fails(await step.done)
  assert.is(seen.stdout.match(/ended/g)?.length, 1, seen.output)
  await isEmptied(namespace)
})

test.run()
