// SPDX-License-Identifier: Apache-2.0
/** GPUs without being asked for by name: the driver's files, the image's conditions, masks, and the fabric. */
import * as assert from 'uvu/assert'
import { parseCache } from '../../src/image/ldcache.js'
import type { AcceleratorFacts, HostNode, NvidiaDriver } from '../../src/plan/accelerators.js'
import { IMEX_DEVICES, IMEX_DIRECTORY, MIG_DEVICES } from '../../src/plan/nvidia_nodes.js'
import { cudaOf, weigh } from '../../src/plan/nvidia_require.js'
import { planStep } from '../../src/plan/plan.js'
import type { Plan } from '../../src/plan/spec.js'
import { BerthError } from '../../src/report/errors.js'
import { suite } from '../suite.js'
import { hostWith, NVIDIA_YAML } from './cdi_samples.js'
import { type Given, libcFacts, planInput } from './plan_input.js'

const test = suite('gpus in a plan')
const LIB = '/usr/lib64'
const DRIVER: NvidiaDriver = {
  version: '550.54.15',
  libraries: [
    { path: `${LIB}/libcuda.so.550.54.15`, names: ['libcuda.so', 'libcuda.so.1'] },
    { path: `${LIB}/libnvidia-ml.so.550.54.15`, names: ['libnvidia-ml.so.1'] },
    { path: `${LIB}/libnvcuvid.so.550.54.15`, names: [] },
    { path: `${LIB}/libGLX_nvidia.so.550.54.15`, names: [] },
    { path: `${LIB}/libnvidia-ngx.so.550.54.15`, names: [] },
  ],
  libraries32: [{ path: '/usr/lib/libcuda.so.550.54.15', names: ['libcuda.so.1'] }],
  binaries: ['/usr/bin/nvidia-smi', '/usr/bin/nvidia-cuda-mps-control'],
  files: [{ path: '/run/nvidia-persistenced/socket', target: '/run/nvidia-persistenced/socket' }],
}

/** Four GPUs, of which the step has the first `allowed`. */
function host(allowed: number, more: Partial<AcceleratorFacts> = {}, kind = '/dev/nvidia'): AcceleratorFacts {
  const names = [0, 1, 2, 3].map((index) => `${kind}${index}`)
  const pattern = kind === '/dev/nvidia' ? '/dev/nvidia[0-9]*' : '/dev/dri/renderD*'
  return {
    ...hostWith({}),
    nodes: new Map(
      names.map((name, minor) => [name, { type: 'c', major: 195, minor, allowed: minor < allowed }]),
    ),
    globs: new Map([[pattern, names]]),
    ...more,
  }
}

function plan(accelerators: AcceleratorFacts, given: Given = {}): Plan {
  const environment = { SLURM_STEP_GPUS: '0', ...given.environment }
  return planStep({ ...planInput({ ...given, environment }), host: { machine: 'x86_64', accelerators } })
}

const targets = (made: Plan): string[] =>
  made.mounts.map(({ target }) => target).filter((target) => target.includes('nvidia'))
const variable = (made: Plan, name: string) => made.process.env.find((one) => one.name === name)
const withDriver = (given: Given = {}, allowed = 1): Plan => plan(host(allowed, { nvidia: DRIVER }), given)

test('the driver’s files for computing, under each name that the host has for them', () => {
  const made = withDriver()
  assert.equal(targets(made), [
    '/usr/local/nvidia/lib64/libcuda.so.550.54.15',
    '/usr/local/nvidia/lib64/libcuda.so',
    '/usr/local/nvidia/lib64/libcuda.so.1',
    '/usr/local/nvidia/lib64/libnvidia-ml.so.550.54.15',
    '/usr/local/nvidia/lib64/libnvidia-ml.so.1',
    '/usr/local/nvidia/bin/nvidia-smi',
    '/usr/local/nvidia/bin/nvidia-cuda-mps-control',
    '/run/nvidia-persistenced/socket',
  ])
  assert.is(variable(made, 'LD_LIBRARY_PATH')?.value, '/usr/local/nvidia/lib64')
  assert.match(variable(made, 'PATH')?.value ?? '', /^\/usr\/local\/bin:.*:\/usr\/local\/nvidia\/bin$/)
})

const cacheOf = (made: Plan): Record<string, string> => {
  const file = made.mounts.find(({ target }) => target === '/etc/ld.so.cache')
  const entries = file?.kind === 'file' ? (parseCache(Buffer.from(file.content)) ?? []) : []
  return Object.fromEntries(entries.map(({ name, path }) => [name, path]))
}

test('glibc’s loader finds the driver by its cache, without a variable, and the image’s entries stay', () => {
  const entry = (name: string) => ({ name, path: `/opt/own/${name}`, flags: 0x303, hwcaps: '', mask: '' })
  const facts = { ...libcFacts('glibc', '2.31'), cache: [entry('libx.so.1'), entry('libcuda.so.1')] }
  const made = withDriver({ facts })
  assert.is(variable(made, 'LD_LIBRARY_PATH'), undefined)
  const dir = '/usr/local/nvidia/lib64'
  assert.equal(cacheOf(made), {
    'libx.so.1': '/opt/own/libx.so.1',
    'libnvidia-ml.so.550.54.15': `${dir}/libnvidia-ml.so.550.54.15`,
    'libnvidia-ml.so.1': `${dir}/libnvidia-ml.so.1`,
    'libcuda.so.550.54.15': `${dir}/libcuda.so.550.54.15`,
    'libcuda.so.1': `${dir}/libcuda.so.1`,
    'libcuda.so': `${dir}/libcuda.so`,
  })
})

test('libraries for a newer glibc stay out, and a musl image is told what it cannot load', () => {
  const needs = new Map([[`${LIB}/libcuda.so.550.54.15`, { bits: 64, glibc: '2.34' } as const]])
  const with_ = (facts: Given['facts']) => plan(host(1, { nvidia: DRIVER, needs }), facts ? { facts } : {})
  const old = with_(libcFacts('glibc', '2.31'))
  assert.not.ok(targets(old).some((target) => target.includes('libcuda')))
  assert.ok(cacheOf(old)['libnvidia-ml.so.1'])
  assert.match(
    old.notes.join('\n'),
    /left out: libcuda\.so\.550\.54\.15 needs glibc 2\.34, the image offers 2\.31/,
  )
  assert.ok(cacheOf(with_(libcFacts('glibc', '2.36')))['libcuda.so.1'])
  const musl = with_(libcFacts('musl', ''))
  assert.is(variable(musl, 'LD_LIBRARY_PATH')?.value, '/usr/local/nvidia/lib64')
  assert.match(musl.notes.join('\n'), /built on musl, and they need glibc/)
})

const CAPS = '/dev/nvidia-caps/nvidia-cap'
/** Capabilities of MIG by minor number, and channels of IMEX; "-" before one: the cgroup denies it. */
function withNodes(caps: string[], channels: string[], given: Given = {}): Plan {
  const base = host(1, { nvidia: DRIVER })
  const node = (path: string, text: string): [string, HostNode] => [
    path,
    { type: 'c', major: 236, minor: Math.abs(Number(text)), allowed: !text.startsWith('-') },
  ]
  const all = [
    ...caps.map((text) => node(`${CAPS}${text.replace('-', '')}`, text)),
    ...channels.map((text) => node(`${IMEX_DIRECTORY}/channel${text.replace('-', '')}`, text)),
  ]
  const like = (start: string) => all.map(([path]) => path).filter((path) => path.startsWith(start))
  const globs = [...base.globs, [MIG_DEVICES, like(CAPS)], [IMEX_DEVICES, like(IMEX_DIRECTORY)]] as const
  return plan({ ...base, nodes: new Map([...base.nodes, ...all]), globs: new Map(globs) }, given)
}

test('MIG: instances are counted, a mask of one is kept where the step has some, and nobody gains a right', () => {
  const mask = { CUDA_VISIBLE_DEVICES: 'MIG-b1c2' }
  const some = withNodes(['1', '2', '3', '-4'], [], { environment: mask })
  assert.match(some.notes.join('\n'), /MIG: the step may open 1 of 2 capabilities/)
  assert.is(variable(some, 'CUDA_VISIBLE_DEVICES'), undefined)
  const none = withNodes(['1', '-3', '-4'], [], { environment: mask })
  assert.is(variable(none, 'CUDA_VISIBLE_DEVICES')?.action, 'unset')
  assert.match(none.warnings.join(), /MIG-b1c2 is dropped: the step has no instance of MIG/)
  const asks = { NVIDIA_MIG_CONFIG_DEVICES: 'all', NVIDIA_MIG_MONITOR_DEVICES: 'all' }
  assert.match(
    withNodes(['1', '-2', '3'], [], { environment: asks }).warnings.join('\n'),
    /^NVIDIA_MIG_MONITOR_DEVICES: \/dev\/nvidia-caps\/nvidia-cap2 was not given to this step/,
  )
  assert.match(
    withNodes([], [], { environment: asks }).warnings.join('\n'),
    /NVIDIA_MIG_CONFIG_DEVICES: this node has no MIG capability to change/,
  )
})

test('IMEX: the channels that are named are the only ones seen', () => {
  const seen = (value: string, channels = ['0', '1', '-2']) => {
    const made = withNodes([], channels, { environment: { NVIDIA_IMEX_CHANNELS: value } })
    const own = made.mounts.filter(({ target }) => target.startsWith(IMEX_DIRECTORY))
    return [own.map(({ kind, target }) => `${kind} ${target.slice(IMEX_DIRECTORY.length)}`), made.warnings]
  }
  assert.equal(seen('1'), [['tmpfs ', 'bind /channel1'], []])
  assert.equal(seen('all'), [[], []])
  assert.equal(seen(''), [[], []])
  const [mounts, warnings] = seen('0,2,7,x')
  assert.equal(mounts, ['tmpfs ', 'bind /channel0'])
  assert.match(
    warnings?.join('\n') ?? '',
    /=2: the step's cgroup denies.*\s.*=7: this job has no.*\s.*"x" is no number/,
  )
  assert.equal(seen('0', [])[0], [])
})

test('pipes of MPS are where its server was told to have them', () => {
  const environment = { CUDA_MPS_PIPE_DIRECTORY: '/tmp/mps-4711' }
  assert.ok(withDriver({ environment }).mounts.some(({ target }) => target === '/tmp/mps-4711'))
  const utility = { env: ['NVIDIA_DRIVER_CAPABILITIES=utility'] }
  assert.not.ok(
    withDriver({ environment, config: utility }).mounts.some(({ target }) => target === '/tmp/mps-4711'),
  )
})

test('NVIDIA_DRIVER_CAPABILITIES of the image chooses', () => {
  const of = (words: string) =>
    targets(withDriver({ config: { env: [`NVIDIA_DRIVER_CAPABILITIES=${words}`] } })).join()
  assert.not.match(of('utility'), /libcuda/)
  assert.match(of('video'), /nvcuvid/)
  assert.match(of('graphics'), /GLX/)
  assert.match(of('display'), /GLX/)
  assert.match(of('ngx'), /ngx/)
  assert.not.match(of('graphics'), /ngx|nvcuvid|libcuda/)
  assert.not.match(of('compute'), /\/nvidia\/lib\//)
  assert.match(of('compute,compat32'), /\/nvidia\/lib\/libcuda\.so\.1/)
  for (const name of ['libcuda', 'nvcuvid', 'GLX', 'ngx', '/nvidia/lib/']) assert.ok(of('all').includes(name))
  const made = withDriver({ config: { env: ['NVIDIA_DRIVER_CAPABILITIES=compute,warp'] } })
  assert.ok(made.notes.some((note) => /warp is unknown/.test(note)))
})

test('only a step that has GPUs gets them, and an image that wants none gets none', () => {
  const alone = { SLURM_STEP_GPUS: '' }
  assert.is(targets(withDriver({ environment: alone })).length, 0)
  assert.ok(
    targets(withDriver({ environment: alone, config: { env: ['NVIDIA_VISIBLE_DEVICES=all'] } })).length > 0,
  )
  assert.is(targets(withDriver({ config: { env: ['NVIDIA_VISIBLE_DEVICES=void'] } })).length, 0)
  assert.is(targets(withDriver({ site: 'container_gpu = off\n' })).length, 0)
  assert.is(targets(withDriver({}, 0)).length, 0)
  assert.ok(targets(withDriver({ config: { env: ['NVIDIA_VISIBLE_DEVICES=none'] } }, 0)).length > 0)
})

test('a CDI file for all GPUs comes before the driver’s files, and its failure fails nothing', () => {
  const facts = hostWith({ 'nvidia.yaml': NVIDIA_YAML })
  const made = plan(host(2, { ...facts, globs: host(2).globs, nvidia: DRIVER }))
  assert.ok(made.mounts.some(({ target }) => target === '/usr/bin/nvidia-smi'))
  const broken = plan(host(2, { ...facts, paths: new Set(), nvidia: DRIVER }))
  assert.ok(broken.notes.some((note) => /nvidia.com\/gpu=all: needs .* not on this node/.test(note)))
})

test('words for the driver are the image’s, the host’s where it has none, or --container-env says so', () => {
  const seen = (name: string, host: string, image: string | undefined, keeps = false) =>
    targets(
      withDriver({
        environment: { [name]: host },
        config: { env: image === undefined ? [] : [`${name}=${image}`] },
        options: keeps ? [`container-env=${name}`] : [],
      }),
    ).join()
  const devices = 'NVIDIA_VISIBLE_DEVICES'
  assert.is(seen(devices, 'void', undefined), '')
  assert.match(seen(devices, 'void', 'all'), /libcuda/)
  assert.is(seen(devices, 'void', 'all', true), '')
  assert.is(seen(devices, 'all', 'void'), '')
  assert.match(seen(devices, 'all', 'void', true), /libcuda/)
  const words = 'NVIDIA_DRIVER_CAPABILITIES'
  assert.match(seen(words, 'video', undefined), /nvcuvid/)
  assert.not.match(seen(words, 'video', 'compute'), /nvcuvid/)
  assert.match(seen(words, 'video', 'compute'), /libcuda/)
  assert.match(seen(words, 'video', 'compute', true), /nvcuvid/)
  assert.not.match(seen(words, 'video', 'compute', true), /libcuda/)
})

test('NVIDIA_REQUIRE_*: spaces are alternatives, commas conditions, and what only the driver knows is unknown', () => {
  const facts = { driver: '550.54.15', cuda: '12.4' }
  for (const [text, verdict] of [
    ['cuda>=12.4', 'met'],
    ['cuda>=12.5', 'unmet'],
    ['cuda>=13.0 driver>=535', 'met'],
    ['cuda>=12.0,driver<535', 'unmet'],
    ['cuda>=12.5 brand=tesla,driver>=535', 'unknown'],
    ['cuda>=12.5 brand=tesla,driver>=560', 'unmet'],
    ['driver=550.54.15', 'met'],
    ['driver!=550.54.15', 'unmet'],
    ['', 'met'],
    ['nonsense', 'unknown'],
  ] as const)
    assert.is(weigh(text, facts), verdict, text)
  assert.is(cudaOf('535.104'), '12.2')
  assert.is(cudaOf('999.1'), '13.0')
  assert.is(cudaOf('300.1'), undefined)
})

test('an image for a newer CUDA is refused, unless its user says otherwise', () => {
  const config = { env: ['NVIDIA_REQUIRE_CUDA=cuda>=13.0'] }
  try {
    withDriver({ config })
    assert.unreachable()
  } catch (error) {
    assert.instance(error, BerthError)
    assert.match(
      String(error),
      /the image needs NVIDIA_REQUIRE_CUDA=cuda>=13.0, this node has driver 550.54.15 \(CUDA 12.4\)/,
    )
    assert.is(error instanceof BerthError && error.code, 'BERTH_EGPU')
  }
  assert.ok(targets(withDriver({ config, environment: { NVIDIA_DISABLE_REQUIRE: '1' } })).length > 0)
  assert.is(targets(withDriver({ config, environment: { SLURM_STEP_GPUS: '' } })).length, 0)
})

test('masks of an image never count; one of the node’s numbers is dropped where the step counts from 0', () => {
  const image = { env: ['CUDA_VISIBLE_DEVICES=7', 'NVIDIA_VISIBLE_DEVICES=all', 'ROCR_VISIBLE_DEVICES=3'] }
  const made = withDriver({ config: image })
  for (const name of ['CUDA_VISIBLE_DEVICES', 'NVIDIA_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES'])
    assert.is(variable(made, name), undefined)
  const mask = (value: string, allowed: number) => {
    const one = withDriver({ environment: { CUDA_VISIBLE_DEVICES: value } }, allowed)
    return [variable(one, 'CUDA_VISIBLE_DEVICES')?.action, one.warnings.length]
  }
  assert.equal(mask('3', 2), ['unset', 1])
  assert.equal(mask('0,1', 2), [undefined, 0])
  assert.equal(mask('3', 4), [undefined, 0], 'not confined: the numbers are the node’s')
  assert.equal(mask('GPU-955ef018', 2), [undefined, 0])
})

test('ROCm: a mask behind another one counts what that leaves', () => {
  const amd = (environment: Record<string, string>, allowed = 4) =>
    plan(host(allowed, {}, '/dev/dri/renderD'), { environment })
  const made = amd({ ROCR_VISIBLE_DEVICES: '2,3', HIP_VISIBLE_DEVICES: '2,3' })
  assert.is(variable(made, 'HIP_VISIBLE_DEVICES')?.action, 'unset')
  assert.is(variable(made, 'ROCR_VISIBLE_DEVICES'), undefined)
  assert.match(
    made.warnings.join(),
    /HIP_VISIBLE_DEVICES=2,3 is dropped: ROCR_VISIBLE_DEVICES leaves 2 devices/,
  )
  assert.is(amd({ ROCR_VISIBLE_DEVICES: '2,3', HIP_VISIBLE_DEVICES: '0,1' }).warnings.length, 0)
  assert.is(variable(amd({ ROCR_VISIBLE_DEVICES: '3' }, 1), 'ROCR_VISIBLE_DEVICES')?.action, 'unset')
  assert.is(variable(amd({ ZE_AFFINITY_MASK: '0.1,3.0' }, 2), 'ZE_AFFINITY_MASK')?.action, 'unset')
})

test.run()
