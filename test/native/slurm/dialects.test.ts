// SPDX-License-Identifier: Apache-2.0
/** Environment files and the words of Shifter and GSI on a real Slurm: what of them reaches the worker. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { encodeFrame, type Fields, Flag, type FrameType, Tag, Type } from '../../../src/worker/frame.js'
import { type Cluster, startCluster } from '../../cluster/cluster.js'
import { exits, refuses } from '../../cluster/expect.js'
import { suite } from '../../suite.js'
import { compileFake, FakeWorker, makeDirectory, type Rule } from './fake.js'

const notRoot = process.getuid?.() === 0 ? '' : 'root'
const test = suite('words of others')
const directory = makeDirectory()
const program = compileFake(directory.path)
let cluster: Cluster
let socket = ''
let folder = ''

const answer = (type: FrameType, fields: Fields = []) => ({ send: encodeFrame(type, fields) })
const ACK = answer(Type.ACK)

function rules(pin: Fields = []): Rule[] {
  return [
    [Type.CHECK, ACK, answer(Type.PIN, pin)],
    [Type.TASK, ACK],
    [Type.HELLO, answer(Type.JOIN, [[Tag.FLAGS, Flag.BARE]])],
    [Type.RELEASE, ACK],
    [Type.PREFETCH, ACK],
  ]
}

async function withWorker<T>(body: (fake: FakeWorker) => Promise<T>, pin: Fields = []): Promise<T> {
  const fake = await FakeWorker.start(program, directory.path, socket, rules(pin))
  try {
    return await body(fake)
  } finally {
    await fake.stop()
  }
}

/** Options of each REGISTER, without those of the batch script. */
function registered(fake: FakeWorker, context = 'step'): string[][] {
  return fake
    .of(Type.REGISTER)
    .filter(({ frame }) => frame.text(Tag.CONTEXT) === context)
    .map(({ frame }) => frame.texts(Tag.OPTION))
}

function edfOf(options: readonly string[] | undefined): Record<string, unknown> {
  const text = (options ?? []).find((option) => option.startsWith('edf='))
  assert.ok(text, `no edf in ${options?.join(' ')}`)
  return JSON.parse((text ?? '').slice('edf='.length)) as Record<string, unknown>
}

test.before(async () => {
  if (notRoot !== '') return
  cluster = await startCluster({ nodes: [{}], plugArgs: ['shifter_flags=short', 'gsi_flags=yes'] })
  const runtime = cluster.nodes[0]?.runtimeDir ?? ''
  mkdirSync(runtime, { recursive: true })
  socket = join(runtime, 'worker.sock')
  folder = join(cluster.shared, 'edf')
  mkdirSync(folder)
  writeFileSync(join(folder, 'sim.toml'), `image = "quay.io/a:1"\nmounts = ["$\{HERE}:/x"]\n`)
  writeFileSync(join(folder, 'bad.toml'), 'image = "a"\nimgae = "b"\n')
})
const env = (more: Record<string, string> = {}) => ({ env: { EDF_PATH: folder, HERE: '/tmp', ...more } })

test.needs(notRoot, 'srun renders the file as the user, and the node gets it whole', () =>
  withWorker(async (fake) => {
    exits(await cluster.srun(['--environment=sim', 'true'], env()), 0)
    const [options] = registered(fake)
    assert.equal(options?.length, 1)
    assert.equal(edfOf(options).image, 'quay.io/a:1')
    assert.equal(edfOf(options).mounts, ['/tmp:/x'])
    assert.equal(fake.of(Type.CHECK)[0]?.frame.texts(Tag.OPTION), options)
  }),
)

test.needs(notRoot, '--edf and BERTH_ENVIRONMENT are the same', () =>
  withWorker(async (fake) => {
    exits(await cluster.srun([`--edf=${folder}/sim.toml`, 'true'], env()), 0)
    exits(await cluster.srun(['true'], env({ BERTH_ENVIRONMENT: 'sim' })), 0)
    for (const options of registered(fake)) assert.equal(edfOf(options).image, 'quay.io/a:1')
    assert.is(registered(fake).length, 2)
    refuses(
      await cluster.srun(['--edf=sim', '--environment=sim', 'true'], env()),
      /both --environment and --edf were specified/,
    )
  }),
)

test.needs(notRoot, 'a file with a mistake ends srun and sbatch before anything is queued', () =>
  withWorker(async (fake) => {
    const place = /environment file \S+\/bad\.toml:2: unknown key "imgae"/
    refuses(await cluster.srun(['--environment=bad', 'true'], env()), place)
    refuses(await cluster.sbatch(['--environment=bad', '--wrap', 'true'], env()), place)
    const missing = /environment nope is not in \S+\/nope\.toml/
    refuses(await cluster.srun(['--environment=nope', 'true'], env()), missing)
    assert.is(fake.seen.length, 0)
  }),
)

test.needs(notRoot, 'variables yield to the file, flags do not', () =>
  withWorker(async (fake) => {
    const variables = { BERTH_CONTAINER_IMAGE: 'variable', PYXIS_CONTAINER_MOUNTS: '/v' }
    exits(await cluster.srun(['--environment=sim', '--container-workdir=/w', 'true'], env(variables)), 0)
    const [options] = registered(fake)
    assert.equal(options?.map((option) => option.split('=')[0]).sort(), ['container-workdir', 'edf'])
  }),
)

test.needs(notRoot, 'the pinned file replaces the rendered one', () =>
  withWorker(
    async (fake) => {
      exits(await cluster.srun(['--environment=sim', 'true'], env()), 0)
      assert.equal(registered(fake)[0], ['edf={"pinned":1}'])
    },
    [[Tag.OPTION, 'edf={"pinned":1}']],
  ),
)

test.needs(notRoot, 'a step inherits the rendered file of its job, or does without', () =>
  withWorker(async (fake) => {
    const script = `#!/bin/sh
unset EDF_PATH HERE
srun true
srun --environment=none true
srun --container-image=none true
srun --environment=none --container-image=b true
srun --container-image=c true
`
    exits(await cluster.batch(script, ['--environment=sim'], env()), 0)
    assert.equal(edfOf(registered(fake, 'batch')[0]).image, 'quay.io/a:1')
    const [plain, other, both, ...more] = registered(fake)
    assert.equal(edfOf(plain).image, 'quay.io/a:1')
    assert.ok(other?.includes('container-image=b') && !other.some((option) => option.startsWith('edf=')))
    assert.ok(both?.includes('container-image=c') && edfOf(both))
    assert.equal(more, [])
  }),
)

test.needs(notRoot, "Shifter's short words arrive as they are, its long ones are not known here", () =>
  withWorker(async (fake) => {
    const flags = ['--image=docker:a:1', '--volume=/a:/b;/c:/d', '--module=m']
    exits(await cluster.srun([...flags, 'true']), 0)
    assert.equal(registered(fake)[0]?.sort(), ['image=docker:a:1', 'module=m', 'volume=/a:/b;/c:/d'])
    assert.ok((await cluster.srun(['--shifter.image=a', 'true'])).code !== 0)
    // A step's own word for the image is stronger than its job's, whoever's word it is.
    exits(await cluster.batch('#!/bin/sh\nsrun --container-image=b true\n', ['--image=docker:a']), 0)
    assert.equal(registered(fake)[1], ['container-image=b'])
  }),
)

test.needs(notRoot, "GSI's words and variables arrive, an empty container is none", () =>
  withWorker(async (fake) => {
    const flags = [
      '--singularity-container=docker://a',
      '--singularity-bind=/a,/b',
      '--singularity-no-bind-defaults',
    ]
    exits(await cluster.srun([...flags, 'true']), 0)
    assert.equal(registered(fake)[0]?.sort(), [
      'singularity-bind=/a,/b',
      'singularity-container=docker://a',
      'singularity-no-bind-defaults=1',
    ])
    exits(await cluster.srun(['true'], { env: { SLURM_SINGULARITY_CONTAINER: '/c.sqsh' } }), 0)
    assert.equal(registered(fake)[1], ['singularity-container=/c.sqsh'])
    exits(await cluster.srun(['true'], { env: { SLURM_SINGULARITY_CONTAINER: '' } }), 0)
    assert.is(registered(fake).length, 2)
  }),
)

test.after(async () => {
  await cluster?.stop()
  directory.remove()
})

test.run()
