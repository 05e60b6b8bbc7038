// SPDX-License-Identifier: Apache-2.0
/** The kinds of jobs and steps that Slurm has, each with a container: what is where, and what inherits. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { without } from '../engine/engines.js'
import { suite } from '../suite.js'
import { distOf } from './cluster.js'
import { type Running, until } from './command.js'
import { exits, prints, refuses, says } from './expect.js'
import { useCluster } from './fixture.js'

const test = suite('jobs')
const at = useCluster(test, {
  plugArgs: ['shifter_flags=short'],
  // Slurm starts heterogeneous jobs from its backfill loop only, and put-off ones once each sched_interval (60 s).
  slurmConf: ['SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=1'],
})
const image = (): string => `--container-image=${at.images.busybox}`
/**
 * Slurm looks at time limits twice a minute, and half a minute ahead: these steps wait for it while the other tests run.
 * The signal comes no sooner than 15 s after the start, when every program has its trap.
 */
const warned: Running[] = []
test.before(() => {
  const script = 'trap "echo told; exit 3" USR1; while :; do sleep 0.1; done'
  const ways = ['--container-engine=native', '--container-unshare=pid']
  if (without('crun') === undefined) ways.push('--container-engine=crun')
  for (const way of ways) {
    const words = ['-N1', '-n1', '-t2', '--signal=USR1@75', image(), way, 'sh', '-c', script]
    warned.push(at.cluster.start(['srun', ...words]))
  }
})

/** The test images have no /boot, Debian has. */
const WHERE = 'test -d /boot && echo host || echo image'
const where = (label: string): string => `sh -c 'echo ${label} $(${WHERE})'`

/** What lets a static image run the host's srun. */
function hostCommands(): string {
  const plugin =
    /\S+\/berth\.so/.exec(
      readFileSync(join(at.cluster.nodes[0]?.dir ?? '', 'plugstack.conf'), 'utf8'),
    )?.[0] ?? ''
  const same = ['/usr', '/etc', at.cluster.dir, dirname(plugin)].map((path) => `${path}:${path}`)
  return `--container-mounts=${[...same, '/usr/lib:/lib', '/usr/lib64:/lib64'].join(',')}`
}

const script = [
  '#!/bin/sh',
  `echo script $(${WHERE})`,
  `/usr/bin/srun -n1 ${where('inherits')}`,
  `/usr/bin/srun -n1 --container-image=none ${where('undone')}`,
].join('\n')

test('--container-scope=step: the script on the host, its steps in the image', async () => {
  const seen = await at.cluster.batch(script, ['-n1', image(), '--container-scope=step'])
  prints(seen, ['script host', 'inherits image', 'undone host'])
})

test('--container-scope=batch and job: script and steps in the image, a step can leave it', async () => {
  for (const scope of ['batch', 'job']) {
    const options = ['-n1', '-N1', image(), hostCommands(), `--container-scope=${scope}`]
    prints(await at.cluster.batch(script, options), ['script image', 'inherits image', 'undone host'])
  }
})

test('an image in one word and none in another is refused, whichever comes first', async () => {
  for (const words of [
    [image(), '--image=none'],
    ['--container-image=none', `--image=${at.images.busybox}`],
  ])
    refuses(await at.cluster.srun(['-n1', ...words, 'sh', '-c', WHERE]), /--(container-)?image/)
})

test('heterogeneous steps: each component its own command, one set of options for all', async () => {
  const at0 = `--het-group=0 -n1 ${image()}`
  const at1 = `--het-group=1 -n1 ${image()}`
  const script = [
    `srun ${at0} echo first : ${at1} cat /etc/hostname /bin/../etc/os-release`,
    `srun --het-group=0,1 ${image()} sh -c '${WHERE}'`,
    `srun ${at0} true : --het-group=1 -n1 true; echo refused $?`,
  ].join('; ')
  const seen = exits(await at.cluster.salloc(['-n1', ':', '-n1', 'sh', '-c', script]), 0)
  says(says(says(seen, /^first$/m), /^ID=busybox$/m), /^image\nimage$/m)
  says(says(seen, /BERTH_EHETEROGENEOUS/), /^refused 1$/m)
})

test('steps that overlap on the same processors', async () => {
  const step = (name: string): string =>
    `srun -n1 --overlap ${image()} sh -c 'echo ${name}; while ! test -e ${name}.go; do sleep 0.1; done' `
  const both = `${step('one')} & ${step('two')} & wait`
  const mounted = `export BERTH_CONTAINER_MOUNT_CWD=1; ${both}`
  const running = at.cluster.start(['salloc', '-N1', '-n1', 'sh', '-c', mounted])
  await running.sees(/one[\s\S]*two|two[\s\S]*one/)
  exits(await at.cluster.command(['touch', 'one.go', 'two.go']), 0)
  exits(await running.done, 0)
})

test('sattach hears a step', async () => {
  const ticking = 'i=0; while test $i -lt 300; do echo tick; sleep 0.1; i=$((i+1)); done'
  const step = at.cluster.start(['srun', '-n1', '-J', 'heard', image(), 'sh', '-c', ticking])
  await step.sees(/tick/)
  const job = (await at.cluster.command(['squeue', '-h', '-n', 'heard', '-o', '%A'])).stdout.trim()
  const listener = at.cluster.start(['sattach', `${job}.0`])
  await listener.sees(/tick/)
  exits(await at.cluster.command(['scancel', job]), 0)
  await Promise.all([step.done, listener.done])
})

test('a job that is put back into the queue starts again in its image', async () => {
  const body = `#!/bin/sh\necho $(${WHERE}) restart $SLURM_RESTART_COUNT >> log\ntest -n "$SLURM_RESTART_COUNT" || sleep 300\n`
  const log = join(at.cluster.shared, 'log')
  const has = (pattern: RegExp) => async () => {
    try {
      return pattern.test(readFileSync(log, 'utf8'))
    } catch {
      return false
    }
  }
  const options = ['--requeue', '-n1', '-J', 'again', image(), '--container-mount-cwd']
  const done = at.cluster.batch(body, options)
  await until('its first start', has(/image restart *$/m))
  const job = (await at.cluster.command(['squeue', '-h', '-n', 'again', '-o', '%A'])).stdout.trim()
  exits(await at.cluster.scontrol(['requeue', job]), 0)
  const pending = async () =>
    /PENDING/.test((await at.cluster.command(['squeue', '-h', '-j', job, '-o', '%T'])).stdout)
  await until('its place in the queue', pending)
  // Slurm puts the start off by two minutes, and once more when the first run is cleaned up. A start within the
  // second of the requeue would be refused: the node takes its credential for the one it has just revoked.
  const startsAgain = async () => {
    const shown = (await at.cluster.scontrol(['show', 'job', job])).stdout
    const starts = Date.parse(/StartTime=(\S+)/.exec(shown)?.[1] ?? '')
    if (starts - Date.now() > 10_000) await at.cluster.scontrol(['update', `JobId=${job}`, 'StartTime=now+3'])
    return has(/image restart 1$/m)()
  }
  await until('its second start', startsAgain, 120_000, 500)
  exits(await done, 0)
})

test('a signal for a saved batch script alone, and one for all of its processes, reach it once each', async () => {
  const [log, go] = [join(at.cluster.shared, 'signals'), join(at.cluster.shared, 'signals.go')]
  const script = `#!/bin/sh\ntrap 'echo got >> ${log}' USR1\necho up > ${log}\nwhile ! test -e ${go}; do sleep 0.1; done\n`
  const saved = [
    '--container-writable',
    `--container-save=${log}.sqsh`,
    `--container-mounts=${at.cluster.shared}`,
  ]
  const done = at.cluster.batch(script, ['-n1', '-J', 'signaled', image(), ...saved])
  const has = (text: string) => () => existsSync(log) && readFileSync(log, 'utf8') === text
  await until('the script', has('up\n'))
  exits(await at.cluster.command(['scancel', '--batch', '-s', 'USR1', '-n', 'signaled']), 0)
  await until('its signal', has('up\ngot\n'))
  exits(await at.cluster.command(['scancel', '--full', '-s', 'USR1', '-n', 'signaled']), 0)
  await until('the signal of all', has('up\ngot\ngot\n'))
  writeFileSync(go, '')
  exits(await done, 0)
  prints(await at.cluster.command(['cat', log]), ['up', 'got', 'got'])
})

test('tasks per node, and X11 as far as Slurm goes', async () => {
  const seen = await at.cluster.srun([
    '-N2',
    '--ntasks-per-node=2',
    image(),
    'sh',
    '-c',
    'echo $SLURM_PROCID',
  ])
  prints(seen, ['0', '1', '2', '3'])
  // Slurm makes the tunnel before any task, and refuses by itself where there is no display.
  says(await at.cluster.srun(['--x11', '-n1', image(), 'true']), /DISPLAY/)
})

test('a batch script: what berth ps shows of it is what exec and --container-name take', async () => {
  const [node] = at.cluster.nodes
  const program = ['node', 'bin/berth.js'].map((name) => join(distOf(at.cluster), name))
  const env = { BERTH_RUNTIME_DIR: node?.runtimeDir ?? '' }
  const berth = (...args: string[]) => at.cluster.command([...program, ...args], { env })
  const path = join(at.cluster.shared, 'shown.sh')
  writeFileSync(path, '#!/bin/sh\necho batch > /tmp/private\nexec sleep 300\n', { mode: 0o755 })
  const options = ['-n1', `--nodelist=${node?.name}`, '-o', '/dev/null', image()]
  const submitted = exits(await at.cluster.command(['sbatch', '--parsable', ...options, path]), 0)
  const id = submitted.stdout.trim()
  const shown = `${id}.batch`
  await until('the script', async () =>
    new RegExp(`^${shown} .* running `, 'm').test((await berth('ps')).stdout),
  )
  await until(
    'its file',
    async () => (await berth('exec', shown, '--', 'cat', '/tmp/private')).stdout === 'batch\n',
  )
  const joins = ['srun', `--jobid=${id}`, '--overlap', `--container-name=${shown}`]
  prints(await at.cluster.command([...joins, 'cat', '/tmp/private']), ['batch'])
  exits(await at.cluster.command(['scancel', id]), 0)
  await until('its end', async () => !(await berth('ps')).stdout.includes(shown))
})

test('srun --signal, ahead of the time limit, reaches the program, also behind an engine or with its own pids', async () => {
  for (const step of warned) says(exits(await step.done, 3), /^told$/m)
})

test.run()
