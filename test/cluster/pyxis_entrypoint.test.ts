// SPDX-License-Identifier: Apache-2.0
/** The image's entrypoint and what images of PyTorch get, row by row as users of pyxis know them. */
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { distOf, startCluster } from './cluster.js'
import type { Outcome, RunOptions } from './command.js'
import { exits, fails, lines, prints, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { publishLike } from './images.js'
import { leftForGood } from './leftovers.js'
import { makeTar } from './tar.js'

const test = suite('pyxis: entrypoint')
const at = useCluster(test)
let image = ''
let broken = ''
let torch = ''

/** As docker's own: what it exports depends on a variable; it talks a lot, on both outputs. */
const ENTRYPOINT = `#!/bin/sh
echo "entrypoint: $# words"
echo "entrypoint: takes $1"
echo "entrypoint: warning" >&2
if [ -n "$TLS_VERIFY" ]; then DAEMON_HOST=tcp://docker:2376; else DAEMON_HOST=tcp://docker:2375; fi
export DAEMON_HOST SEEN_RANK=$SLURM_PROCID NAMED=changed
exec "$@"
`

test.before(async () => {
  const layer = makeTar([{ name: 'entry.sh', mode: 0o755, content: ENTRYPOINT }])
  const env = ['PATH=/bin', 'FROM_IMAGE=image', 'NAMED=image']
  image = await publishLike(at.registry, 'starts-first', {
    ...{ layers: [layer], env, entrypoint: ['/entry.sh'], user: 'daemon' },
  })
  broken = await publishLike(at.registry, 'entrypoint-broken', { env, entrypoint: ['/no/such/entry'] })
  torch = await publishLike(at.registry, 'torch', { env: ['PATH=/bin', 'PYTORCH_VERSION=2.9.0'] })
})

function srun(options: readonly string[], command: string, run: RunOptions = {}): Promise<Outcome> {
  return at.cluster.srun(['-n1', `--container-image=${image}`, ...options, 'sh', '-c', command], run)
}

const ask = 'echo "[$DAEMON_HOST]"'
const silent = (outcome: Outcome): Outcome => saysNot(outcome, /entrypoint:/)

test('not run unless asked for', async () => {
  prints(await srun([], ask), ['[]'])
  prints(await srun(['--no-container-entrypoint'], ask), ['[]'])
  prints(await srun([], ask, { env: { PYXIS_CONTAINER_ENTRYPOINT: '0' } }), ['[]'])
})

test('runs first, is not heard, and hands its variables to the program', async () => {
  prints(silent(await srun(['--container-entrypoint'], ask)), ['[tcp://docker:2375]'])
  prints(silent(await srun([], ask, { env: { PYXIS_CONTAINER_ENTRYPOINT: '1' } })), ['[tcp://docker:2375]'])
  const run = { env: { PYXIS_CONTAINER_ENTRYPOINT: '1' } }
  prints(await srun(['--no-container-entrypoint'], ask, run), ['[]'])
  const off = { env: { PYXIS_CONTAINER_ENTRYPOINT: '0', PYXIS_CONTAINER_ENTRYPOINT_LOG: '0' } }
  prints(await srun(['--container-entrypoint'], ask, off), ['[tcp://docker:2375]'])
  says(await srun(['--container-entrypoint', '--container-entrypoint-log'], ask, off), /^entrypoint:/m)
})

test('is heard when asked for', async () => {
  const options = ['--container-entrypoint', '--container-entrypoint-log']
  says(says(exits(await srun(options, ask), 0), /^entrypoint: \d+ words$/m), /^entrypoint: warning$/m)
  const run = { env: { PYXIS_CONTAINER_ENTRYPOINT: '1', PYXIS_CONTAINER_ENTRYPOINT_LOG: '1' } }
  says(exits(await srun([], ask, run), 0), /entrypoint: warning/)
})

test('does not see a variable of the step unless it is named', async () => {
  const run = { env: { TLS_VERIFY: '1' } }
  prints(await srun(['--container-entrypoint'], `${ask}; echo $TLS_VERIFY`, run), [
    '[tcp://docker:2375]',
    '1',
  ])
  prints(await srun(['--container-entrypoint', '--container-env=TLS_VERIFY'], ask, run), [
    '[tcp://docker:2376]',
  ])
})

test('the program gets its own environment back', async () => {
  const run = { env: { HOST_ONLY: 'host', NAMED: 'host', FROM_IMAGE: 'host' } }
  const show = 'echo $HOST_ONLY $NAMED $FROM_IMAGE'
  prints(await srun(['--container-entrypoint'], show, run), ['host changed image'])
  prints(await srun(['--container-entrypoint', '--container-env=NAMED'], show, run), ['host host image'])
})

test('runs in each task, which keeps its own rank', async () => {
  const args = ['-n3', `--container-image=${image}`, '--container-entrypoint']
  const seen = await at.cluster.srun([...args, 'sh', '-c', 'echo $SLURM_PROCID $SEEN_RANK'])
  prints(seen, ['0 0', '1 1', '2 2'])
})

test('by hand in a named container: it runs its command, whose change stays', async () => {
  const name = ['-w', 'n1', '--container-name=byhand']
  const made = await at.cluster.srun([
    '-n1',
    `--container-image=${image}`,
    ...name,
    '/entry.sh',
    'touch',
    '/kept',
  ])
  says(exits(made, 0), /^entrypoint: 2 words$/m)
  exits(await at.cluster.srun(['-n1', ...name, 'ls', '/kept']), 0)
})

test('exit code, arguments and both outputs are the program’s', async () => {
  const seen = await srun(['--container-entrypoint'], 'echo out; echo err >&2; exit 7')
  assert.is(exits(seen, 7).stdout, 'out\n')
  says(seen, /^err$/m)
  const args = ['-n1', `--container-image=${image}`, '--container-entrypoint', 'echo', 'a  b', '', '$HOME']
  assert.equal(lines(await at.cluster.srun(args)), ['a  b  $HOME'])
})

test('a program that is not there is told of, and an entrypoint that is not', async () => {
  const args = ['-n1', '--container-entrypoint']
  const missing = await at.cluster.srun([...args, `--container-image=${image}`, 'no-such-program'])
  says(exits(missing, 127), /no-such-program/)
  refuses(await at.cluster.srun([...args, `--container-image=${broken}`, 'true']), /\/no\/such\/entry/)
})

test('nothing of it stays open in the program', async () => {
  const list = 'ls /proc/self/fd | wc -l'
  const bare = lines(await srun([], list))
  assert.equal(lines(await srun(['--container-entrypoint'], list)), bare)
})

test('PyTorch: address and port for all, ranks of each task', async () => {
  const show = 'echo $SLURM_JOB_ID $MASTER_PORT $MASTER_ADDR $WORLD_SIZE $OMP_NUM_THREADS $RANK $LOCAL_RANK'
  const seen = lines(
    await at.cluster.srun(['-N2', '--ntasks-per-node=2', `--container-image=${torch}`, 'sh', '-c', show]),
  ).sort()
  const job = seen[0]?.split(' ')[0] ?? ''
  const common = `${job} ${61_000 + (Number(job) % 4536)} n1 4 1`
  assert.equal(seen, [`${common} 0 0`, `${common} 1 1`, `${common} 2 0`, `${common} 3 1`])
})

test('PyTorch: an address and threads that the user chose stay', async () => {
  const show = 'echo $MASTER_ADDR $MASTER_PORT $OMP_NUM_THREADS'
  const run = { env: { MASTER_ADDR: 'elsewhere', MASTER_PORT: '1234', OMP_NUM_THREADS: '6' } }
  const words = [`--container-image=${torch}`, 'sh', '-c', show]
  prints(await at.cluster.srun(['-N1', '-n2', ...words], run), Array(2).fill('elsewhere 1234 6'))
  says(await at.cluster.srun(['-n1', ...words], { env: { MASTER_ADDR: 'x' } }), /^x 6\d+ *$/m)
})

test('without PyTorch in the image there are none', async () => {
  prints(await srun([], 'echo "[$MASTER_ADDR$RANK]"'), ['[]'])
})

function enrootWords(words: readonly string[]): { argv: string[]; run: RunOptions } {
  const argv = [join(distOf(at.cluster), 'compat/enroot'), ...words]
  return { argv, run: { env: { BERTH_RUNTIME_DIR: at.cluster.nodes[0]?.runtimeDir ?? '', TLS_VERIFY: '1' } } }
}

function enroot(words: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  const { argv, run } = enrootWords(words)
  return at.cluster.command(argv, { env: { ...run.env, ...env } })
}

test('enroot import: a place that cannot be written is told first', async () => {
  const nowhere = join(at.cluster.shared, 'no/such/x.sqsh')
  const seen = fails(await enroot(['import', '-o', nowhere, `docker://${at.registry.host}/not-asked:1`]))
  assert.is(seen.output, `enroot: No such file or directory: ${nowhere}\n`)
  const closed = fails(await enroot(['import', '-o', '/etc/x.sqsh', `docker://${image}`]))
  assert.is(closed.output, 'enroot: Permission denied: /etc/x.sqsh\n')
})

test('enroot start: the entrypoint takes the command and is heard, variables given win', async () => {
  says(exits(await enroot(['load', '--help']), 0), /knows .*load/)
  const own = process.arch === 'x64' ? 'x86_64' : 'aarch64'
  says(fails(await enroot(['load', '-a', 'riscv64', `docker://${image}`])), /another processor's kind/)
  exits(await enroot(['load', '--name', 'loaded', '-a', own, `docker://${image}`]), 0)
  says(fails(await enroot(['load', '-n', 'loaded', `docker://${image}`])), /already exists/)
  exits(await enroot(['load', '-f', '-n', 'loaded', `docker://${image}`]), 0)
  const show = ['loaded', 'sh', '-c', 'echo $DAEMON_HOST $FROM_IMAGE $NAMED']
  const seen = exits(await enroot(['start', '-e', 'FROM_IMAGE=given', '--env=TLS_VERIFY', ...show]), 0)
  says(says(seen, /^entrypoint: takes sh$/m), /^entrypoint: warning$/m)
  says(seen, /^tcp:\/\/docker:2376 given changed$/m)
})

test('enroot start: writable as enroot.conf would say, mounts below the root, namespaces of its own', async () => {
  const touch = ['loaded', 'touch', '/made']
  says(fails(await enroot(['start', ...touch])), /Read-only file system/)
  exits(await enroot(['start', ...touch], { ENROOT_ROOTFS_WRITABLE: 'y' }), 0)
  exits(await enroot(['start', '--mount', '.:mnt', 'loaded', 'ls', '-d', '/mnt', '/made']), 0)
  const show = ['sh', '-c', 'readlink /proc/self/ns/net; readlink /proc/self/ns/uts']
  const own = async (options: string[]) =>
    lines(await enroot(['start', ...options, 'loaded', ...show])).filter((line) => line.includes(':['))
  const [host, alone] = [await own([]), await own(['--net', '--uts'])]
  assert.is(host.length, 2)
  for (const [index, namespace] of alone.entries()) assert.is.not(namespace, host[index])
})

test('enroot start: list shows its process, which exec joins', async () => {
  const script = 'sleep 300 & echo child $!; exec sleep 301'
  const { argv, run } = enrootWords(['start', 'loaded', 'sh', '-c', script])
  const started = at.cluster.start(argv, run)
  await started.sees(/^child \d+$/m)
  const [, child = ''] = /^child (\d+)$/m.exec(started.output()) ?? []
  const table = exits(await enroot(['list', '-f']), 0).stdout
  const [, pid = ''] = /^loaded +(\d+) +sleep /m.exec(table) ?? []
  // The entrypoint has seen the caller's TLS_VERIFY, as the command does.
  for (const process of [pid, child])
    says(await enroot(['exec', '-e', 'MORE=x', process, 'sh', '-c', 'echo $DAEMON_HOST $MORE']), /2376 x$/m)
  says(fails(await enroot(['exec', '1', 'true'])), /no container of yours has the process 1$/m)
  started.kill('SIGTERM')
  await started.done
})

test('arguments of pyxis in plugstack.conf: execute_entrypoint=1 and sbatch_support=0', async () => {
  const cluster = await startCluster({ nodes: [{}], plugArgs: ['execute_entrypoint=1', 'sbatch_support=0'] })
  const words = ['-n1', `--container-image=${image}`]
  const step = (options: string[], run: RunOptions = {}) =>
    cluster.srun([...words, ...options, 'sh', '-c', ask], run)
  try {
    prints(await step([]), ['[tcp://docker:2375]'])
    prints(silent(await step([])), ['[tcp://docker:2375]'])
    prints(await step(['--no-container-entrypoint']), ['[]'])
    prints(await step([], { env: { PYXIS_CONTAINER_ENTRYPOINT: '0' } }), ['[]'])
    says(exits(await step(['--container-entrypoint-log']), 0), /^entrypoint: warning$/m)

    saysNot(exits(await cluster.command(['sbatch', '--help']), 0), /container-image/)
    for (const submit of ['sbatch', 'salloc'])
      says(fails(await cluster.command([submit, ...words, 'true'])), /unrecognized option.*container-image/)
    // The script stays on the host, where its steps know the options.
    const script = `#!/bin/sh\n${ask}; srun -n1 --container-image=${image} sh -c '${ask}'\n`
    prints(await cluster.batch(script, ['-n1']), ['[]', '[tcp://docker:2375]'])
  } finally {
    await cluster.stop()
  }
  assert.equal(await leftForGood(cluster.dir), [])
})

test.run()
