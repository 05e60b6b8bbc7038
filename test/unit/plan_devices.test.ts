// SPDX-License-Identifier: Apache-2.0
/** --container-device: what a CDI file asks for as steps of a plan, and what is refused. */
import * as assert from 'uvu/assert'
import type { AcceleratorFacts } from '../../src/plan/accelerators.js'
import { planStep } from '../../src/plan/plan.js'
import type { Plan, PlannedMount } from '../../src/plan/spec.js'
import { BerthError } from '../../src/report/errors.js'
import { suite } from '../suite.js'
import { AMD_JSON, hostWith, NVIDIA_YAML } from './cdi_samples.js'
import { type Given, libcFacts, planInput } from './plan_input.js'

const test = suite('devices in a plan')

function plan(names: string, accelerators: AcceleratorFacts, given: Given = {}): Plan {
  const options = names === '' ? [] : [`container-device=${names}`]
  const input = planInput({ ...given, options: [...options, ...(given.options ?? [])] })
  return planStep({ ...input, host: { machine: 'x86_64', accelerators } })
}

function refusal(names: string, facts: AcceleratorFacts, given: Given = {}): string {
  try {
    plan(names, facts, given)
  } catch (error) {
    if (error instanceof BerthError) return `${error.code} ${error.message}`
    throw error
  }
  return ''
}

const at = (made: Plan, target: string): PlannedMount | undefined =>
  made.mounts.find((mount) => mount.target === target)
const value = (made: Plan, name: string): string | undefined =>
  made.process.env.find((variable) => variable.name === name)?.value
const small = (edits: object, more: object = {}): Record<string, string> => ({
  'x.json': JSON.stringify({
    ...{ cdiVersion: '1.1.0', kind: 'a.b/c', devices: [{ name: 'x', containerEdits: edits }], ...more },
  }),
})

test('a GPU of the NVIDIA toolkit: libraries, links, variables, and no mount for nodes that /dev has', () => {
  const made = plan('nvidia.com/gpu=0', hostWith({ 'nvidia.yaml': NVIDIA_YAML }))
  const library = at(made, '/usr/lib64/libcuda.so.550.54.15')
  assert.is(library?.kind, 'bind')
  assert.equal(library?.kind === 'bind' && [library.flags, library.trusted, library.recursive], [
    ['ro', 'nosuid', 'nodev', 'private'],
    false,
    true,
  ])
  assert.match(library?.reason ?? '', /nvidia\.com\/gpu=0 of .*nvidia\.yaml/)
  assert.is(library?.origin, 'flag --container-device')
  const link = at(made, '/usr/lib64/libcuda.so.1')
  assert.is(link?.kind === 'symlink' && link.to, 'libcuda.so.550.54.15')
  const other = at(made, '/usr/lib64/libcuda.so')
  assert.is(other?.kind === 'symlink' && other.to, 'libcuda.so.1')
  assert.is(value(made, 'NVIDIA_VISIBLE_DEVICES'), 'void')
  assert.is(value(made, 'LD_LIBRARY_PATH'), '/.berth/lib')
  const own = at(made, '/.berth/lib/libcuda.so.1')
  assert.is(own?.kind === 'symlink' && own.to, '/usr/lib64/libcuda.so.1')
  assert.ok(at(made, '/.berth/lib/libcuda.so.550.54.15'))
  assert.is(made.mounts.filter(({ target }) => target.startsWith('/dev/nvidia')).length, 0)
  assert.ok(made.notes.some((note) => /chmod is not needed/.test(note)))
  assert.ok(made.notes.some((note) => /enable-cuda-compat is not needed/.test(note)))
})

test('glibc’s loader is told of a device’s libraries by its cache; one that wants a newer glibc is refused', () => {
  const source = '/usr/lib64/libcuda.so.550.54.15'
  const facts = hostWith({ 'nvidia.yaml': NVIDIA_YAML })
  const made = plan('nvidia.com/gpu=0', facts, { facts: libcFacts('glibc', '2.31') })
  assert.is(value(made, 'LD_LIBRARY_PATH'), undefined)
  assert.is(at(made, '/.berth/lib/libcuda.so.1'), undefined)
  assert.ok(at(made, '/etc/ld.so.cache'))
  const tooNew = { ...facts, needs: new Map([[source, { bits: 64, glibc: '2.38' } as const]]) }
  assert.match(
    refusal('nvidia.com/gpu=0', tooNew, { facts: libcFacts('glibc', '2.31') }),
    /gpu=0: none of its libraries can be loaded: libcuda\.so\.550\.54\.15 needs glibc 2\.38, the image offers 2\.31/,
  )
  const musl = plan('nvidia.com/gpu=0', tooNew, { facts: libcFacts('musl', '') })
  assert.is(value(musl, 'LD_LIBRARY_PATH'), '/.berth/lib')
  assert.match(musl.notes.join('\n'), /libraries of devices: the image is built on musl/)
})

test('two devices of one file share its edits', () => {
  const made = plan('nvidia.com/gpu=0,nvidia.com/gpu=1', hostWith({ 'nvidia.yaml': NVIDIA_YAML }))
  assert.is(made.mounts.filter(({ target }) => target === '/usr/bin/nvidia-smi').length, 1)
})

test('a GPU of another step is refused; of "all" only its own count', () => {
  const facts = hostWith({ 'nvidia.yaml': NVIDIA_YAML }, { denied: ['/dev/nvidia1'] })
  assert.match(refusal('nvidia.com/gpu=1', facts), /BERTH_EDEVICE .*not given to this step.*\/dev\/nvidia1/)
  assert.is(refusal('nvidia.com/gpu=0', facts), '')
  const made = plan('nvidia.com/gpu=all', facts)
  assert.ok(made.notes.some((note) => /not given to this step: \/dev\/nvidia1$/.test(note)))
})

test('all of a kind whose files have no device of that name: those that are the step’s', () => {
  const devices = ['a', 'b'].map((name) => {
    const containerEdits = { deviceNodes: [{ path: `/dev/x${name}` }], env: [`HAS_${name}=1`] }
    return { name, containerEdits }
  })
  const files = { 'x.json': JSON.stringify({ cdiVersion: '0.5.0', kind: 'a.b/c', devices }) }
  const has = (made: Plan) => ['HAS_a', 'HAS_b'].filter((name) => value(made, name) === '1').join()
  assert.is(has(plan('a.b/c=all', hostWith(files))), 'HAS_a,HAS_b')
  const some = plan('a.b/c=all', hostWith(files, { denied: ['/dev/xb'] }))
  assert.is(has(some), 'HAS_a')
  assert.match(some.notes.join('\n'), /a\.b\/c=b: was not given to this step/)
  assert.match(
    refusal('a.b/c=all', hostWith(files, { denied: ['/dev/xa', '/dev/xb'] })),
    /a\.b\/c=all: none of a\.b\/c=a, a\.b\/c=b was given to this step/,
  )
  assert.match(refusal('a.b/d=all', hostWith(files)), /is in no CDI file/)
})

test('CDI files for all GPUs of AMD and Intel come by themselves too, side by side, and named ones in their place', () => {
  const file = (vendor: string) =>
    JSON.stringify({
      ...{ cdiVersion: '0.6.0', kind: `${vendor}.com/gpu` },
      devices: ['0', 'all'].map((name) => ({ name, containerEdits: { env: [`OF_${vendor}=${name}`] } })),
    })
  const facts = hostWith({ 'amd.json': file('amd'), 'intel.json': file('intel') })
  const seen = (names = '', given: Given = { environment: { SLURM_STEP_GPUS: '0' } }) => {
    const made = plan(names, facts, given)
    return ['OF_amd', 'OF_intel'].map((name) => value(made, name))
  }
  assert.equal(seen(), ['all', 'all'])
  assert.equal(seen('', {}), [undefined, undefined])
  assert.equal(seen('', { environment: { SLURM_STEP_GPUS: '0' }, site: 'container_gpu = off\n' }), [
    undefined,
    undefined,
  ])
  assert.equal(seen('amd.com/gpu=0'), ['0', undefined])
})

test('a GPU of the AMD toolkit', () => {
  const facts = hostWith({ 'amd.json': AMD_JSON })
  assert.is(refusal('amd.com/gpu=0', facts), '')
  assert.match(
    refusal(
      'amd.com/gpu=0',
      hostWith({ 'amd.json': AMD_JSON }, { nodes: { '/dev/dri/card0': { type: 'c', major: 1, minor: 1 } } }),
    ),
    /another device than .*amd\.json says/,
  )
})

test('a node with another name inside makes /dev the container’s own', () => {
  const facts = hostWith(small({ deviceNodes: [{ path: '/dev/gpu', hostPath: '/dev/vendor7' }] }))
  const input = planInput({ options: ['container-device=a.b/c=x'] })
  const devices = [
    { name: 'null', kind: 'node' as const },
    { name: 'pts', kind: 'directory' as const },
    { name: 'loop0', kind: 'node' as const },
  ]
  const made = planStep({
    ...input,
    devices,
    host: { machine: 'x86_64', accelerators: { ...facts, newNames: true } },
  })
  assert.is(at(made, '/dev')?.kind, 'tmpfs')
  assert.is(at(made, '/dev/pts')?.kind, 'bind')
  assert.is(at(made, '/dev/loop0'), undefined)
  const node = at(made, '/dev/gpu')
  assert.equal(node?.kind === 'bind' && [node.source, node.flags, node.trusted], [
    '/dev/vendor7',
    ['nosuid', 'noexec'],
    false,
  ])
})

test('/dev/PATH must be there and be the step’s', () => {
  const nodes = { '/dev/fuse': { type: 'c' as const, major: 10, minor: 229, allowed: true } }
  assert.is(refusal('/dev/fuse', hostWith({}, { nodes })), '')
  assert.match(refusal('/dev/kvm', hostWith({}, { nodes })), /BERTH_EDEVICE device \/dev\/kvm: is no device/)
  const denied = { '/dev/fuse': { ...nodes['/dev/fuse'], allowed: false } }
  assert.match(refusal('/dev/fuse', hostWith({}, { nodes: denied })), /not given to this step/)
  assert.throws(() => plan('/dev/../etc/shadow', hostWith({})), /invalid format/)
})

const REFUSED: [string, AcceleratorFacts, RegExp][] = [
  ['an unknown device', hostWith({}), /is in no CDI file of this node/],
  ['a device of a file that is broken', hostWith({ 'bad.yaml': 'x: [' }), /not used: .*bad\.yaml/],
  [
    'a device in two files',
    hostWith({ ...small({ env: ['A=b'] }), 'y.json': small({ env: ['A=b'] })['x.json'] ?? '' }),
    /is in several files/,
  ],
  [
    'a missing node',
    hostWith(small({ deviceNodes: [{ path: '/dev/zz' }] }), { without: ['/dev/zz'] }),
    /needs \/dev\/zz, which is no device/,
  ],
  [
    'a missing file',
    hostWith(small({ mounts: [{ hostPath: '/no', containerPath: '/x' }] }), { without: ['/no'] }),
    /needs \/no, which is not on this node/,
  ],
  [
    'a foreign hook',
    hostWith(
      small({ hooks: [{ hookName: 'createRuntime', path: '/opt/vendor/hook', args: ['hook', 'go'] }] }),
    ),
    /createRuntime hook \/opt\/vendor\/hook go is not run \(cdi_hooks, default\)/,
  ],
  [
    'an unknown verb',
    hostWith(
      small({
        hooks: [{ hookName: 'createContainer', path: '/usr/bin/nvidia-cdi-hook', args: ['x', 'new-verb'] }],
      }),
    ),
    /new-verb is not run/,
  ],
  [
    'an unknown mount option',
    hostWith(small({ mounts: [{ hostPath: '/a', containerPath: '/x', options: ['exotic'] }] })),
    /unknown option exotic/,
  ],
  [
    'a file system',
    hostWith(small({ mounts: [{ hostPath: '/a', containerPath: '/x', type: 'nfs' }] })),
    /type nfs are not mounted/,
  ],
  [
    'the root as a target',
    hostWith(small({ mounts: [{ hostPath: '/a', containerPath: '/x/..' }] })),
    /root cannot be mounted over/,
  ],
  [
    'a renamed interface',
    hostWith(small({ netDevices: [{ hostInterfaceName: 'hsn0', name: 'eth0' }] })),
    /hsn0 cannot be moved/,
  ],
]
for (const [what, facts, pattern] of REFUSED) {
  test(`refused: ${what}`, () => assert.match(refusal('a.b/c=x', facts), pattern))
}

test('a site may go without a foreign hook, and the plan says so', () => {
  const facts = hostWith(small({ env: ['A=b'], hooks: [{ hookName: 'poststop', path: '/opt/hook' }] }))
  const made = plan('a.b/c=x', facts, { site: 'cdi_hooks = ignore\n' })
  assert.ok(
    made.notes.some((note) => /poststop hook \/opt\/hook is not run \(cdi_hooks, berth.conf:1\)/.test(note)),
  )
})

test('no right is added: groups, owners and cache allocation are told and left', () => {
  const edits = {
    additionalGids: [3000, 44],
    intelRdt: { closID: 'x' },
    deviceNodes: [{ path: '/dev/x', uid: 0, fileMode: 438 }],
    netDevices: [{ hostInterfaceName: 'hsn0', name: 'hsn0' }],
  }
  const made = plan('a.b/c=x', hostWith(small(edits)))
  for (const pattern of [/groups 44 are not/, /intelRdt is left/, /keeps the owner/, /hsn0 is there/])
    assert.ok(
      made.notes.some((note) => pattern.test(note)),
      String(pattern),
    )
  assert.equal(made.process.user.additionalGids, [3000])
})

test('a tmpfs of a CDI file is the user’s', () => {
  const mounts = [
    { hostPath: 'tmpfs', containerPath: '/scratch', type: 'tmpfs', options: ['size=64M', 'nosuid'] },
  ]
  const step = at(plan('a.b/c=x', hostWith(small({ mounts }))), '/scratch')
  assert.is(step?.kind === 'tmpfs' && step.options, 'uid=2041,gid=2000,size=64M')
})

test('links of a hook that leave their place are not made', () => {
  const link = (text: string) => ({
    hookName: 'createContainer',
    path: '/usr/bin/nvidia-ctk',
    args: ['nvidia-ctk', 'hook', 'create-symlinks', '--link', text],
  })
  const made = plan(
    'a.b/c=x',
    hostWith(small({ env: ['A=b'], hooks: ['a::/proc/x', 'a::rel', 'a', '::/x', 'a::/ok'].map(link) })),
  )
  assert.is(
    made.mounts.filter(({ kind, target }) => kind === 'symlink' && !target.startsWith('/dev')).length,
    1,
  )
  assert.is(made.notes.filter((note) => /is not made/.test(note)).length, 4)
})

test.run()
