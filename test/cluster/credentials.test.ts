// SPDX-License-Identifier: Apache-2.0
/** Private images as users of docker and enroot have them: the login comes from a program of the user's. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { distOf } from './cluster.js'
import { must, type Outcome, run, until } from './command.js'
import { freePorts } from './daemon.js'
import { exits, prints, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { buildImages } from './images.js'
import { type Registry, startRegistry } from './registry.js'
import { USER_A } from './users.js'

const test = suite('credentials')
const [port = 0] = await freePorts(1)
/** Nobody's own name: all that it has is at its mirror. */
const MIRRORED = 'mirrored.example'
const at = useCluster(test, { berthConf: `registry_mirrors = ${MIRRORED}=127.0.0.1:${port}\n` })
/** `ann` with SECRET, as htpasswd -B writes it. */
const USERS = ['ann:$2y$05$Qm9zdG9uIGJhcm9ucyBhbeq6ViIJn4okMs12izMNM34WToZAxUDBK']
const SECRET = 'open sesame'
const which = ['sh', '-c', '. /etc/os-release; echo $ID']
/** What takes a second, on a machine that does much else. */
const WAIT_MS_MAX = 60_000
let closed: Registry
let home = ''
const environment: Record<string, string> = {}

test.before(async () => {
  closed = await startRegistry(at.cluster.undo, { users: USERS, port })
  home = join(at.cluster.shared, 'home')
  for (const folder of ['bin', 'docker', 'enroot'])
    mkdirSync(join(home, folder), { recursive: true, mode: 0o755 })
  // With a job's variables: helpers are found in the PATH of srun and sbatch.
  Object.assign(environment, { HOME: home, PATH: `${home}/bin:${process.env.PATH}` })
  const { busybox } = await buildImages()
  for (const name of ['one:1', 'two:1', 'three:1', 'four:1', 'five:1', 'six:1', 'seven:1'])
    await closed.push(busybox, name, [`--dest-creds=ann:${SECRET}`])
})

/** Written by root, read and run as the user. */
async function put(path: string, text: string, mode = '600'): Promise<string> {
  const file = join(home, path)
  writeFileSync(file, text)
  await must(['chown', USER_A.name, file])
  await must(['chmod', mode, file])
  return file
}

/** Says what a helper sees of its surroundings, and has the login. */
const helper = (more = '') => `#!/bin/sh
read server
echo "$(id -u) $1 $server \${SLURM_PROCID-submit}" >> ${home}/helper.log
${more}
echo '{"ServerURL":"'$server'","Username":"ann","Secret":"${SECRET}"}'
`

const srun = (image: string, env: Record<string, string>, ...more: string[]): Promise<Outcome> =>
  at.cluster.srun(['-N1', '-w', 'n1', ...more, `--container-image=${image}`, '--export=ALL', ...which], {
    env: { ...environment, ...env },
  })

test('credHelpers: the helper runs as the user, at submit and in the step', async () => {
  const log = await put('helper.log', '')
  await put('bin/docker-credential-lab', helper(), '755')
  await put('docker/config.json', JSON.stringify({ credHelpers: { [closed.host]: 'lab' } }))
  const env = { DOCKER_CONFIG: join(home, 'docker') }
  prints(await srun(`${closed.host}/one:1`, env, '-n2'), ['busybox', 'busybox'])
  const calls = readFileSync(log, 'utf8').trim().split('\n')
  // At submit, where a worker asks for the digest; on the node once, whatever the number of tasks.
  const inStep = calls.filter((line) => !line.endsWith('submit'))
  assert.is(inStep.length, 1, calls.join('\n'))
  for (const line of calls) assert.match(line, `${USER_A.uid} get ${closed.host} `)
  const dist = distOf(at.cluster)
  const berth = [join(dist, 'node'), join(dist, 'bin/berth.js'), 'pull', `${closed.host}/six:1`]
  const pulled = await at.cluster.command(berth, {
    env: { ...environment, ...env, BERTH_RUNTIME_DIR: at.cluster.nodes[0]?.runtimeDir ?? '' },
  })
  says(exits(pulled, 0), /^sha256:/m)
  // Nobody else gets the image that the store has now.
  const other = await at.cluster.srun(['-N1', '-w', 'n1', `--container-image=${closed.host}/one:1`, 'true'], {
    user: 'berth-b',
  })
  refuses(other, /BERTH_EAUTH/)
  // The mirror's own host is what the user's files are asked about.
  prints(await srun(`${MIRRORED}/seven:1`, env), ['busybox'])
  const last = readFileSync(log, 'utf8').trim().split('\n').at(-1) ?? ''
  assert.match(last, `get ${closed.host} `)
})

test('a helper that fails says so where the registry says no; without a login nothing is lost', async () => {
  await put('bin/docker-credential-lab', '#!/bin/sh\necho "vault is sealed"\nexit 1\n', '755')
  await put(
    'docker/config.json',
    JSON.stringify({ credHelpers: { [closed.host]: 'lab' }, credsStore: 'desktop' }),
  )
  const env = { DOCKER_CONFIG: join(home, 'docker') }
  const seen = await srun(`${closed.host}/two:1`, env)
  says(refuses(seen, /BERTH_EAUTH/), /docker-credential-lab: ended with status 1: vault is sealed/)
  says(seen, /docker-credential-desktop: cannot be run \(E\w+\)/)
  // An open registry asks for no login: a configuration copied from a laptop is no obstacle.
  prints(await srun(at.images.busybox, env), ['busybox'])
})

test('enroot: a password that a command prints, in srun and sbatch, seen by nobody else', async () => {
  await put('secret.txt', `${SECRET.toUpperCase()}\n`)
  await put(
    'enroot/.credentials',
    `machine ${closed.host.split(':')[0]} login $WHO password $(cat ~/secret.txt | tr A-Z a-z)\n`,
  )
  const env = { ENROOT_CONFIG_PATH: join(home, 'enroot'), WHO: 'ann' }
  prints(await srun(`ann@${closed.host}#two:1`, env), ['busybox'])
  const script = `#!/bin/sh
. /etc/os-release; echo $ID
env
scontrol show job $SLURM_JOB_ID || true
for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do tr '\\0' '\\n' < $f; done 2>/dev/null
`
  const seen = await at.cluster.batch(
    script,
    ['-N1', '-w', 'n1', `--container-image=${closed.host}/three:1`],
    {
      env: { ...environment, ...env },
    },
  )
  says(exits(seen, 0), /^busybox$/m)
  saysNot(seen, new RegExp(SECRET, 'i'))
  const job = await at.cluster.scontrol(['show', 'job', '--all'])
  saysNot(job, new RegExp(SECRET, 'i'))
  for (const node of at.cluster.nodes) {
    const log = await run(['sh', '-c', `cat ${at.cluster.dir}/${node.name}/*.log ${at.cluster.dir}/*/*.log`])
    saysNot(log, new RegExp(SECRET, 'i'))
  }
})

test('a shell’s signs in enroot’s commands are refused by name', async () => {
  await put(
    'enroot/.credentials',
    `machine ${closed.host.split(':')[0]} login ann password $(cat ~/secret.txt; echo x)\n`,
  )
  const seen = await srun(`${closed.host}/four:1`, { ENROOT_CONFIG_PATH: join(home, 'enroot') })
  says(refuses(seen, /BERTH_EAUTH/), /; is not understood: no shell runs it/)
})

test('a step that is canceled while its helper hangs leaves no helper', async () => {
  const log = await put('helper.log', '')
  await put('bin/docker-credential-lab', helper('[ -z "$SLURM_PROCID" ] || exec sleep 599'), '755')
  await put('docker/config.json', JSON.stringify({ credHelpers: { [closed.host]: 'lab' } }))
  const going = at.cluster.start(
    ['srun', '-N1', '-w', 'n1', `--container-image=${closed.host}/five:1`, 'true'],
    {
      env: { ...environment, DOCKER_CONFIG: join(home, 'docker') },
    },
  )
  await until(
    'the helper of the node',
    () => readFileSync(log, 'utf8').trim().split('\n').length === 2,
    WAIT_MS_MAX,
  )
  await going.interrupt()
  await until(
    'its end',
    async () => (await run(['pgrep', '-u', USER_A.name, '-xf', 'sleep 599'])).code !== 0,
    WAIT_MS_MAX,
  )
})

test.run()
