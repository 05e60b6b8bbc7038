// SPDX-License-Identifier: Apache-2.0
/** Plans for a root of one's own, namespaces, entrypoints and PyTorch. */
import assert from 'node:assert/strict'
import type { HostDevice, PlanInput } from '../../src/plan/input.js'
import { planStep } from '../../src/plan/plan.js'
import { firstHost } from '../../src/plan/pytorch.js'
import type { Plan } from '../../src/plan/spec.js'
import { suite } from '../suite.js'
import { type Given, planInput } from './plan_input.js'

const test = suite('inside of a plan')
const LAUNCHER = '/opt/berth/berth-exec'
const DEVICES: HostDevice[] = [
  { name: 'fd', kind: 'link', to: '/proc/self/fd' },
  { name: 'infiniband', kind: 'directory' },
  { name: 'loop3', kind: 'node' },
  { name: 'null', kind: 'node' },
  { name: 'ptmx', kind: 'node' },
  { name: 'shm', kind: 'directory' },
  { name: 'tty12', kind: 'node' },
]

function plan(given: Given, more: Partial<PlanInput> = {}): Plan {
  return planStep({ ...planInput(given), launcher: LAUNCHER, ...more })
}

function mountsOn(made: Plan, directory: string): string[] {
  const below = made.mounts.filter(({ target }) => target === directory || target.startsWith(`${directory}/`))
  return below.map(({ kind, target }) => `${kind} ${target}`)
}

test('first name of a host list', () => {
  assert.equal(firstHost('node7'), 'node7')
  assert.equal(firstHost('gpu[07-09,12]-ib,login'), 'gpu07-ib')
  assert.equal(firstHost('r[1-2]n[03,05]'), 'r1n03')
  assert.equal(firstHost('a,b[1-2]'), 'a')
})

test('PyTorch: only for images that say so, and only in a job', () => {
  const variables = (given: Given): string[] =>
    plan(given)
      .process.env.filter(({ name }) => /^(MASTER_|RANK|LOCAL_RANK|WORLD)/.test(name))
      .map(({ name }) => name)
  const config = { env: ['PYTORCH_VERSION=2.9'] }
  assert.deepEqual(variables({ options: [] }), [])
  const names = ['MASTER_PORT', 'RANK', 'LOCAL_RANK', 'WORLD_SIZE']
  assert.deepEqual(
    variables({ options: [], config }).filter((name) => name !== 'MASTER_ADDR'),
    names,
  )
  assert.ok(!variables({ options: ['container-env=RANK'], config }).includes('RANK'))
})

test('PyTorch: one thread where a node has several tasks; what the image sets itself stays', () => {
  const values = (step: Record<string, string>, env: string[] = []): (string | undefined)[] => {
    const config = { env: ['PYTORCH_VERSION=2.9', ...env] }
    const planned = plan({ options: [], config, environment: step }).process.env
    return ['OMP_NUM_THREADS', 'MASTER_PORT'].map((name) => {
      const variable = planned.find((one) => one.name === name)
      return variable && `${variable.action} ${variable.value}`
    })
  }
  const counts = (tasks: string, nodes: string) => ({
    SLURM_STEP_NUM_TASKS: tasks,
    SLURM_STEP_NUM_NODES: nodes,
  })
  const port = `default ${61_000 + 4711 - 4536}`
  assert.deepEqual(values(counts('4', '2')), ['default 1', port])
  assert.deepEqual(values(counts('2', '2')), [undefined, port])
  assert.deepEqual(values({}), [undefined, port])
  assert.deepEqual(values(counts('4', '2'), ['OMP_NUM_THREADS=8', 'MASTER_PORT=29500']), [
    'set 8',
    'set 29500',
  ])
})

test('accounts: mounts of a read-only root, files of a writable one', () => {
  const plain = (options: string[]): unknown[] =>
    plan({ options })
      .mounts.filter(({ target }) => ['/etc/passwd', '/etc/group', '/etc/localtime'].includes(target))
      .map((mount) => 'plain' in mount && mount.plain)
  assert.deepEqual(plain([]), [false, false, false])
  assert.deepEqual(plain(['container-writable=1']), [true, true, true])
})

test('apt stays root where the user is', () => {
  const files = (options: string[]) => mountsOn(plan({ options }), '/etc/apt')
  assert.deepEqual(files([]), [])
  assert.deepEqual(files(['container-remap-root=1']), ['file /etc/apt/apt.conf.d/99berth'])
})

test('a private /dev has the devices, but no disks, consoles and shared memory of the host', () => {
  const made = plan({ options: ['container-unshare=ipc'] }, { devices: DEVICES })
  assert.deepEqual(mountsOn(made, '/dev'), [
    'tmpfs /dev',
    'symlink /dev/fd',
    'bind /dev/infiniband',
    'bind /dev/null',
    'devpts /dev/pts',
    'symlink /dev/ptmx',
    'tmpfs /dev/shm',
    'mqueue /dev/mqueue',
  ])
  assert.deepEqual(mountsOn(plan({ options: [] }), '/dev'), ['bind /dev', 'bind /dev/shm'])
})

test('an entrypoint brings the launcher into the container', () => {
  const config = { entrypoint: ['/entry'] }
  const asked = plan({ options: ['container-entrypoint=1'], config })
  assert.deepEqual(asked.process.args, ['/entry'])
  const bind = asked.mounts.find(({ target }) => target === '/.berth/exec')
  assert.equal(bind?.kind === 'bind' && bind.source, LAUNCHER)
  assert.ok(bind?.kind === 'bind' && bind.flags.includes('ro'))
  assert.deepEqual(mountsOn(plan({ options: [], config }), '/.berth'), [])
  assert.deepEqual(mountsOn(plan({ options: ['container-entrypoint=1'] }), '/.berth'), [])
})

test.run()
