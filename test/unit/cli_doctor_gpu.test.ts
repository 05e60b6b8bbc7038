// SPDX-License-Identifier: Apache-2.0
/** What `berth doctor gpu` says of a node, and how the host's files are found. */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import { type DeviceFacts, describeDevices, probeNode } from '../../src/cli/doctor_gpu.js'
import { expandGlob } from '../../src/launch/glob.js'
import { readHookFiles } from '../../src/launch/hook_files.js'
import { findNvidiaDriver } from '../../src/launch/nvidia_driver.js'
import { readCdiCatalog } from '../../src/site/cdi.js'
import { loadSite } from '../../src/site/site.js'
import { suite } from '../suite.js'
import { NVIDIA_YAML, withFiles } from './cdi_samples.js'

const test = suite('berth doctor gpu')

function report(more: Partial<DeviceFacts>, conf = '', cdi: Record<string, string> = {}): string {
  return withFiles([{ 'berth.conf': conf }, cdi], ([directory = '', files = '']) => {
    const site = loadSite({ config: join(directory, 'berth.conf') })
    const facts = { site, catalog: readCdiCatalog([files]), gpus: [], fabric: [], environment: {} }
    return describeDevices({ ...facts, ...more })
      .map(
        ({ check, state, found, fix }) =>
          `${state} ${check}: ${found}${fix === undefined ? '' : ` | ${fix}`}`,
      )
      .join('\n')
  })
}

test('a node without GPUs says so and finds no fault', () => {
  const said = report({ environment: { SLURM_STEP_GPUS: '0' } })
  assert.match(said, /^ok gpus: none on this node/)
  assert.not.match(said, /^(fail|warn)/m)
})

test('devices of others, and those that an account may not open, are told apart', () => {
  const gpus = [
    { path: '/dev/nvidia0', state: 'open' as const },
    { path: '/dev/nvidia1', state: 'denied' as const },
    { path: '/dev/dri/renderD128', state: 'foreign' as const },
  ]
  const said = report({ gpus })
  assert.match(said, /ok gpus: can be opened: \/dev\/nvidia0/)
  assert.match(said, /ok gpus: of other steps, denied by the cgroup: \/dev\/nvidia1/)
  assert.match(
    said,
    /warn gpus: owner and mode keep this account out: \/dev\/dri\/renderD128 \| put users into the group/,
  )
  assert.match(said, /warn NVIDIA driver: no libcuda\.so below \/ \| name the place/)
  assert.match(said, /warn step: no GPUs of Slurm/)
})

test('files that are not used, devices in two files and mistakes in profiles are faults', () => {
  const conf = '[profile p]\nfrob = 1\n'
  const said = report({}, conf, { 'a.yaml': NVIDIA_YAML, 'b.yaml': NVIDIA_YAML, 'c.json': '{' })
  assert.match(said, /fail CDI: nvidia\.com\/gpu=0 is in .*a\.yaml and .*b\.yaml/)
  assert.match(said, /fail CDI: .*c\.json: /)
  assert.match(said, /fail profile: .*berth\.conf:2: frob: unknown key/)
  assert.match(report({}, 'container_gpu = off\n'), /container_gpu=off \(.*berth\.conf:1\)/)
})

test('hooks that would not run, parts of GPUs, and the glibc that a driver wants are told', () => {
  const hooks = [{ hookName: 'createRuntime', path: '/opt/vendor', args: ['vendor', 'on'] }]
  const spec = { cdiVersion: '0.5.0', kind: 'a.b/c', devices: [{ name: 'x', containerEdits: { hooks } }] }
  const cdi = { 'x.json': JSON.stringify(spec), 'n.yaml': NVIDIA_YAML }
  assert.match(
    report({}, '', cdi),
    /^warn hook: a\.b\/c=x: createRuntime hook \/opt\/vendor on is not run: hooks_allow does not name it \| name its/m,
  )
  assert.not.match(report({}, 'hooks_allow = /opt/\n', cdi), /hook:/)
  const driver = { version: '550.1', libraries: [], libraries32: [], binaries: [], files: [] }
  const parts = [{ path: '/dev/nvidia-caps/nvidia-cap3', state: 'open' as const }]
  const said = report({ driver, glibc: '2.17', parts })
  assert.match(said, /NVIDIA driver: 550\.1: .*, for images with glibc 2\.17 or later/)
  assert.match(said, /ok MIG and IMEX: can be opened: \/dev\/nvidia-caps\/nvidia-cap3/)
})

test('a probe asks as who runs it', () => {
  assert.is(probeNode('/dev/null').state, 'open')
  assert.is(probeNode('/dev/none-of-this-name').state, 'missing')
})

test('the driver’s files are found by name below its root, with their other names, and again when they change', () => {
  withFiles([{}], ([root = '']) => {
    assert.is(findNvidiaDriver(root), undefined)
    const put = (path: string) => {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), 'stub')
    }
    const lib = '/usr/lib/x86_64-linux-gnu'
    for (const name of [
      'libcuda.so.535.1.2',
      'libnvidia-ml.so.535.1.2',
      'libnvinfer.so.8',
      'libcudart.so.12',
    ])
      put(`${lib}/${name}`)
    put('/usr/bin/nvidia-smi')
    put('/etc/OpenCL/vendors/nvidia.icd')
    symlinkSync('libcuda.so.535.1.2', join(root, lib, 'libcuda.so.1'))
    symlinkSync('libcuda.so.1', join(root, lib, 'libcuda.so'))
    symlinkSync('libcuda.so.9', join(root, lib, 'libcuda.so.8'))
    const driver = findNvidiaDriver(root)
    assert.is(driver?.version, '535.1.2')
    assert.equal(driver?.libraries.find(({ path }) => path.includes('libcuda'))?.names, [
      'libcuda.so',
      'libcuda.so.1',
    ])
    assert.is(driver?.libraries.length, 2)
    assert.equal(driver?.binaries, [join(root, '/usr/bin/nvidia-smi')])
    const icd = '/etc/OpenCL/vendors/nvidia.icd'
    assert.equal(driver?.files, [{ path: join(root, icd), target: icd }])
    put(`${lib}/libnvidia-opencl.so.535.1.2`)
    assert.is(findNvidiaDriver(root)?.libraries.length, 3)
  })
})

test('patterns are those of sh, within one name', () => {
  withFiles([{ a1: '', a2: '', b1: '', '.a3': '', 'a[': '' }], ([directory = '']) => {
    const names = (pattern: string) =>
      expandGlob(join(directory, pattern)).map((path) => path.slice(directory.length + 1))
    assert.equal(names('a*'), ['a1', 'a2', 'a['])
    assert.equal(names('[ab]1'), ['a1', 'b1'])
    assert.equal(names('[!a]?'), ['b1'])
    assert.equal(names('a[2-9]'), ['a2'])
    assert.equal(names('b1'), ['b1'])
    assert.equal(names('none'), [])
    assert.equal(names('[z-a]*'), [])
    assert.equal(names('a**'), ['a1', 'a2', 'a['])
    assert.equal(
      expandGlob(`${dirname(directory)}/*/b?`).map((path) => path.endsWith('b1')),
      [true],
    )
  })
})

test('hook files are read strictly', () => {
  const hook = (more: object) =>
    JSON.stringify({
      version: '1.0.0',
      hook: { path: '/x' },
      when: { always: true },
      stages: ['prestart'],
      ...more,
    })
  const files = {
    '1.json': hook({}),
    '2.json': hook({ version: '0.1.0' }),
    '3.json': hook({ frob: 1 }),
    '4.json': hook({ stages: [] }),
    '5.json': hook({ hook: { path: 'x' } }),
    '6.json': hook({ when: { annotations: { '^a$': 'b' }, commands: ['sh$'], hasBindMounts: true } }),
    '7.json': '{',
  }
  withFiles([files], ([directory = '']) => {
    const read = readHookFiles(directory)
    assert.equal(
      read.map(({ problem }) => problem !== undefined),
      [false, true, true, true, true, false, true],
    )
    assert.equal(read[5]?.when, { annotations: { '^a$': 'b' }, commands: ['sh$'], hasBindMounts: true })
    chmodSync(join(directory, '1.json'), 0o666)
    assert.match(readHookFiles(directory)[0]?.problem ?? '', /others than root/)
  })
})

test.run()
