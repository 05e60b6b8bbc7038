// SPDX-License-Identifier: Apache-2.0
/** The worked examples of docs/operators/profiles and the shipped profiles, planned on a node that has what they name (stand-ins: names only). */
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import type { AcceleratorFacts, HostNode, LibraryNeed } from '../../src/plan/accelerators.js'
import { planStep } from '../../src/plan/plan.js'
import { triggerPaths } from '../../src/plan/profile_choice.js'
import { profilePatterns, profileVariables } from '../../src/plan/profiles.js'
import type { Plan } from '../../src/plan/spec.js'
import { suite } from '../suite.js'
import { hostWith, NVIDIA_YAML } from './cdi_samples.js'
import { type Given, planInput } from './plan_input.js'

const test = suite('worked examples of profiles')
const EXAMPLES = resolve(import.meta.dirname, '../../docs/operators/profiles')

/** Each pattern of the file's profiles has one match, unless it is among `without`. */
function planExample(
  file: string,
  given: Given,
  without: string[] = [],
  needs?: ReadonlyMap<string, LibraryNeed>,
): Plan {
  return planText(readFileSync(join(EXAMPLES, file), 'utf8'), given, without, needs)
}

function planText(
  site: string,
  given: Given,
  without: string[] = [],
  needs: ReadonlyMap<string, LibraryNeed> = new Map(),
): Plan {
  const input = { ...planInput({ ...given, site }), launcher: '/opt/berth/dist/berth-exec' }
  const active = [...(input.site.profiles?.byName.values() ?? [])].map((profile) => ({ profile, origin: '' }))
  const patterns = [
    ...profilePatterns(active, profileVariables(input)),
    ...triggerPaths(input.site.profiles),
  ].filter((pattern) => !without.includes(pattern))
  const nodes = new Map<string, HostNode>([
    ['/dev/nvidia0', { type: 'c', major: 195, minor: 0, allowed: true }],
    ['/dev/nvidiactl', { type: 'c', major: 195, minor: 255, allowed: true }],
  ])
  const base = hostWith({ 'nvidia.yaml': NVIDIA_YAML })
  const globs = new Map(patterns.map((pattern) => [pattern, [pattern.replaceAll('*', '.1')]]))
  const accelerators: AcceleratorFacts = { ...base, nodes: new Map([...base.nodes, ...nodes]), globs, needs }
  return planStep({ ...input, host: { machine: 'x86_64', accelerators } })
}

const targets = (plan: Plan, start: string): string[] =>
  plan.mounts.map(({ target }) => target).filter((target) => target.startsWith(start))
const variable = (plan: Plan, name: string) => plan.process.env.find((one) => one.name === name)?.value

test('Cray and Slingshot: libraries of the fabric come by themselves, MPICH and NCCL by name or annotation', () => {
  const file = 'cray-slingshot.conf'
  const plain = planExample(file, { environment: { FI_PROVIDER: 'cxi' } })
  assert.equal(targets(plain, '/opt/berth/slingshot'), [
    '/opt/berth/slingshot/libfabric.so.1',
    '/opt/berth/slingshot/libcxi.so.1',
    '/opt/berth/slingshot/libnl-3.so.1',
    '/opt/berth/slingshot/libjson-c.so.1',
    '/opt/berth/slingshot/libxpmem.so.1',
  ])
  assert.is(variable(plain, 'LD_LIBRARY_PATH'), '/opt/berth/slingshot')
  assert.is(variable(plain, 'FI_PROVIDER'), 'cxi')
  assert.equal(targets(plain, '/opt/berth/cray'), [])
  assert.equal(targets(planExample(file, {}, ['/dev/cxi0']), '/opt/berth'), [])
  const mpi = planExample(file, { options: ['container-profile=cray-mpich'] })
  assert.equal(targets(mpi, '/opt/berth/cray'), [
    '/opt/berth/cray/libpmi.1.so.1',
    '/opt/berth/cray/libpals.so.1',
  ])
  assert.is(variable(mpi, 'LD_LIBRARY_PATH'), '/opt/berth/cray:/opt/berth/slingshot')
  const annotations = { 'com.hooks.aws_ofi_nccl.enabled': 'true', 'com.hooks.cxi.enabled': 'false' }
  const edf = {
    version: 1,
    name: 'e',
    file: '/e.toml',
    image: 'x',
    mounts: [],
    devices: [],
    env: {},
    annotations,
  }
  const nccl = planExample(file, { environment: { SLURM_BERTH_EDF: JSON.stringify(edf) } })
  assert.equal(targets(nccl, '/opt/berth/nccl'), ['/opt/berth/nccl/libnccl-net.so.1'])
  assert.is(variable(nccl, 'NCCL_NET'), 'AWS Libfabric')
})

test('what an image cannot load stays out of the directory that its loader searches first', () => {
  const needs = (names: readonly string[]) =>
    new Map(names.map((name): [string, LibraryNeed] => [name, { bits: 64, glibc: '2.38' }]))
  const libc = (kind: 'glibc' | 'musl') => ({
    libc: { kind, version: kind === 'glibc' ? '2.31' : '', path: '', machine: 62 },
  })
  const plan = (kind: 'glibc' | 'musl', names: readonly string[]) => {
    const made = planExample('infiniband-nvidia.conf', { facts: libc(kind) }, [], needs(names))
    return { made, said: made.notes.filter((note) => note.includes('left out')) }
  }
  const one = plan('glibc', ['/usr/lib64/libgdrapi.so.1'])
  assert.equal(targets(one.made, '/opt/berth/gdrcopy'), [])
  assert.is(variable(one.made, 'LD_LIBRARY_PATH'), undefined)
  assert.equal(one.said, [
    'profile gdrcopy: libgdrapi.so.1 needs glibc 2.38, the image offers 2.31: left out',
  ])
  const musl = plan('musl', ['/usr/lib64/libgdrapi.so.1'])
  assert.equal(targets(musl.made, '/opt/berth/gdrcopy'), [])
  assert.equal(musl.said, [
    'profile gdrcopy: libgdrapi.so.1: for glibc, and the image is built on musl: left out',
  ])
  const cray = planExample(
    'cray-slingshot.conf',
    { facts: libc('glibc') },
    [],
    needs(['/usr/lib64/libjson-c.so.1']),
  )
  assert.is(targets(cray, '/opt/berth/slingshot').length, 4)
  assert.is(variable(cray, 'LD_LIBRARY_PATH'), '/opt/berth/slingshot')
})

test('InfiniBand and NVIDIA: GPUs of the step by CDI, verbs by the image’s label, GDRCopy by the node', () => {
  const file = 'infiniband-nvidia.conf'
  const plan = planExample(file, {
    environment: { SLURM_STEP_GPUS: '0' },
    config: { labels: { 'org.site.fabric': 'host' } },
  })
  assert.equal(targets(plan, '/opt/berth/ib'), [
    '/opt/berth/ib/libibverbs.so.1',
    '/opt/berth/ib/libmlx5.so.1',
    '/opt/berth/ib/librdmacm.so.1',
  ])
  assert.equal(targets(plan, '/etc/libibverbs.d'), ['/etc/libibverbs.d'])
  assert.equal(targets(plan, '/opt/berth/gdrcopy'), ['/opt/berth/gdrcopy/libgdrapi.so.1'])
  assert.equal(targets(plan, '/usr/bin/nvidia-smi'), ['/usr/bin/nvidia-smi'])
  const sharp = planExample(file, { options: ['container-profile=sharp'] }, ['/dev/gdrdrv'])
  assert.is(variable(sharp, 'NCCL_COLLNET_ENABLE'), '1')
  assert.is(variable(sharp, 'LD_LIBRARY_PATH'), '/opt/mellanox/sharp/lib:/opt/berth/ib')
  assert.equal(targets(planExample(file, {}, ['/dev/gdrdrv']), '/opt/'), [])
})

test('AMD: ROCm for images that say so, RCCL by name and with it', () => {
  const file = 'amd-gpu.conf'
  assert.equal(targets(planExample(file, {}), '/opt/'), [])
  const labelled = planExample(file, { config: { labels: { 'org.site.rocm': 'host' } } })
  assert.equal(targets(labelled, '/opt/'), ['/opt/rocm'])
  const rccl = planExample(file, { options: ['container-profile=rccl'] })
  assert.equal(targets(rccl, '/opt/'), ['/opt/rocm', '/opt/berth/rccl/librccl-net.so.1'])
  assert.is(variable(rccl, 'ROCM_PATH'), '/opt/rocm')
  assert.is(variable(rccl, 'LD_LIBRARY_PATH'), '/opt/berth/rccl:/opt/rocm/lib')
})

test('profiles that every site has: each brings what its name says, on a node that has it', () => {
  // Of the places of libcxi a node has one.
  const shipped = (name: string, more: Given = {}) =>
    planText('', { options: [`container-profile=${name}`], ...more }, [
      '/usr/lib/x86_64-linux-gnu/libcxi.so*',
    ])
  const cxi = shipped('cxi', { environment: { FI_PROVIDER: 'cxi' } })
  assert.equal(targets(cxi, '/opt/berth/cxi'), [
    '/opt/berth/cxi/libcxi.so.1',
    '/opt/berth/cxi/libfabric.so.1',
  ])
  assert.is(variable(cxi, 'LD_LIBRARY_PATH'), '/opt/berth/cxi')
  assert.is(variable(cxi, 'FI_CXI_DISABLE_HOST_REGISTER'), '1')
  assert.is(variable(cxi, 'FI_PROVIDER'), 'cxi')
  const verbs = shipped('verbs')
  assert.equal(
    [...targets(verbs, '/etc/libibverbs.d'), ...targets(verbs, '/etc/rdma')],
    ['/etc/libibverbs.d', '/etc/rdma'],
  )
  assert.equal(targets(shipped('nvidia'), '/usr/bin/nvidia-smi'), ['/usr/bin/nvidia-smi'])
  const rocm = shipped('rocm', { config: { env: ['PATH=/usr/bin'] } })
  assert.equal(targets(rocm, '/opt/'), ['/opt/rocm'])
  assert.is(variable(rocm, 'PATH'), '/usr/bin:/opt/rocm/bin')
  assert.is(variable(rocm, 'LD_LIBRARY_PATH'), '/opt/rocm/lib')
})

test.run()
