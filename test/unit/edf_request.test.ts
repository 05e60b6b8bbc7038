// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: environment files spell variables this way
import assert from 'node:assert/strict'
import { EDF_BYTES_MAX, type Edf, formatEdf, parseEdf } from '../../src/request/edf.js'
import { ignoredOptions, parseRequest } from '../../src/request/grammar.js'
import { pinnedOption } from '../../src/request/pin.js'
import type { Request } from '../../src/request/request.js'
import { suite } from '../suite.js'
import { refuses } from './request_refusals.js'

const test = suite('requests by environment file')

const EDF: Edf = {
  version: 1,
  name: 'sim',
  file: '/home/ada/.edf/sim.toml',
  image: 'quay.io/lab/sim:2',
  mounts: ['/a:/b:ro'],
  devices: ['nvidia.com/gpu=all'],
  env: { A: '1', B: null },
  annotations: {},
}

function option(edf: Partial<Edf> = {}): string {
  return `edf=${formatEdf({ ...EDF, ...edf })}`
}

function read(options: string[], environment: Record<string, string> = {}): Request | undefined {
  return parseRequest({ options, environment: new Map(Object.entries(environment)), context: 'step' })
}

function parse(options: string[], environment: Record<string, string> = {}): Request {
  const request = read(options, environment)
  assert.ok(request)
  return request
}

test('the file alone makes a request, each value with the file as its origin', () => {
  const request = parse([option({ workdir: '/w', entrypoint: true, engine: 'podman' })])
  assert.equal(request.image, 'quay.io/lab/sim:2')
  assert.equal(request.engine, 'podman')
  assert.equal(request.workdir, '/w')
  assert.equal(request.entrypoint, true)
  assert.deepEqual(request.mounts, [{ source: '/a', kind: 'bind', target: '/b', flags: ['ro'] }])
  assert.deepEqual(request.devices, ['nvidia.com/gpu=all'])
  assert.deepEqual(request.variables, { A: '1', B: null })
  assert.equal(request.origins['container-image'], 'environment /home/ada/.edf/sim.toml')
  assert.equal(request.origins.environment, 'environment /home/ada/.edf/sim.toml')
})

test('the root can be written to unless file, flag or variable say otherwise', () => {
  assert.equal(parse([option()]).readonly, false)
  assert.equal(parse([option()]).origins['container-writable'], 'default of environment files')
  assert.equal(parse([option({ writable: false })]).readonly, true)
  assert.equal(parse([option(), 'container-readonly=1']).readonly, true)
  assert.equal(parse([option()], { PYXIS_CONTAINER_READONLY: '1' }).readonly, true)
})

test('flag over file over variable, value by value', () => {
  const variables = {
    BERTH_CONTAINER_IMAGE: 'variable',
    PYXIS_CONTAINER_MOUNTS: '/v',
    BERTH_CONTAINER_WORKDIR: '/v',
    BERTH_CONTAINER_NAME: 'n',
  }
  const request = parse([option(), 'container-mounts=/flag'], variables)
  assert.equal(request.image, 'quay.io/lab/sim:2')
  assert.deepEqual(
    request.mounts.map(({ source }) => source),
    ['/flag'],
  )
  assert.equal(request.workdir, '/v')
  assert.equal(request.name?.name, 'n')
  assert.equal(parse([option(), 'container-image=mine']).image, 'mine')
})

test('it is inherited, and "none" undoes it', () => {
  const inherited = { SLURM_BERTH_EDF: formatEdf(EDF) }
  assert.equal(read([], inherited)?.image, 'quay.io/lab/sim:2')
  assert.equal(read([], { BERTH_EDF: formatEdf(EDF) })?.image, 'quay.io/lab/sim:2')
  assert.equal(read(['environment=none'], inherited), undefined)
  assert.equal(read(['container-image=none'], inherited), undefined)
  assert.equal(read(['environment=none', 'container-image=x'], inherited)?.variables, undefined)
})

test('an empty image in the file is no container, but a flag may name one', () => {
  assert.equal(read([option({ image: '' })]), undefined)
  assert.deepEqual(parse([option({ image: '' }), 'container-image=x']).variables, { A: '1', B: null })
})

test('a name that reaches the node was not looked up by the user, and is refused', () => {
  const text = 'environment sim was not rendered when the job was submitted'
  refuses(() => read([], { BERTH_ENVIRONMENT: 'sim' }), 'BERTH_EEDFRAW', text)
  refuses(() => read(['environment=sim']), 'BERTH_EEDFRAW', text)
  refuses(() => read(['edf=sim']), 'BERTH_EEDFRAW', text)
  assert.equal(read(['container-image=none'], { BERTH_ENVIRONMENT: 'sim' }), undefined)
  // The prolog hears both: Slurm's word for the flag, and what the shim made of it.
  assert.equal(read(['environment=sim', option()])?.image, 'quay.io/lab/sim:2')
})

test('text in it is never expanded or split again', () => {
  const mounts = ['/a,b:/c${HOME}', '/q"x:/y\\z']
  assert.deepEqual(
    parse([option({ mounts })]).mounts.map(({ source, target }) => [source, target]),
    [
      ['/a,b', '/c${HOME}'],
      ['/q"x', '/y\\z'],
    ],
  )
})

test('its values obey the grammar of the flags', () => {
  refuses(() => parse([option({ mounts: ['/a:/b:r0'] })]), 'BERTH_EOPTION', 'unknown bind flag "r0"')
  refuses(
    () => parse([option({ devices: ['gpu'] })]),
    'BERTH_EOPTION',
    '--container-device: invalid format: gpu',
  )
})

test('annotations that berth has become options', () => {
  assert.equal(parse([option({ annotations: { 'com.pyxis.entrypoint_log': 'true' } })]).entrypointLog, true)
})

test('equal environments are equal texts, read back as they were', () => {
  const reordered: Edf = { ...EDF, env: { B: null, A: '1' } }
  assert.equal(formatEdf(reordered), formatEdf(EDF))
  assert.deepEqual(parseEdf(formatEdf(EDF)), EDF)
})

test('one that a job cannot carry is refused', () => {
  const env = { A: 'x'.repeat(EDF_BYTES_MAX) }
  refuses(
    () => formatEdf({ ...EDF, env }),
    'BERTH_EEDF',
    `environment file /home/ada/.edf/sim.toml: is larger than ${EDF_BYTES_MAX} bytes after rendering`,
  )
  refuses(
    () => parseEdf(JSON.stringify({ ...EDF, env })),
    'BERTH_EEDF',
    `is larger than ${EDF_BYTES_MAX} bytes`,
  )
})

test('what somebody made up is refused, whatever it is', () => {
  const broken: [unknown, string][] = [
    ['{', 'is no JSON'],
    ['{}', 'is no rendered environment of this version of berth'],
    [{ ...EDF, version: 2 }, 'is no rendered environment of this version of berth'],
    [{ ...EDF, image: 5 }, 'has an impossible value of "image"'],
    [{ ...EDF, image: 'a\nb' }, 'has an impossible value of "image"'],
    [{ ...EDF, mounts: [1] }, 'has an impossible value of "mounts"'],
    [{ ...EDF, mounts: Array.from({ length: 5000 }, () => '/a') }, 'has an impossible value of "mounts"'],
    [{ ...EDF, writable: 'yes' }, 'has an impossible value of "writable"'],
    [{ ...EDF, env: { 'A=B': 'x' } }, 'has an impossible value of "env"'],
    [{ ...EDF, env: { A: 'x\0y' } }, 'has an impossible value of "env"'],
    [{ ...EDF, env: [] }, 'has an impossible value of "env"'],
    [{ ...EDF, annotations: { a: 1 } }, 'has an impossible value of "annotations"'],
  ]
  for (const [document, problem] of broken) {
    const text = typeof document === 'string' ? document : JSON.stringify(document)
    refuses(() => read([`edf=${text}`]), 'BERTH_EEDF', `environment file SLURM_BERTH_EDF: ${problem}`)
  }
})

test('flags beside a file are not ignored', () => {
  const input = { environment: new Map(), context: 'srun' }
  assert.deepEqual(ignoredOptions({ ...input, options: [option(), 'container-mounts=/a'] }), [])
})

test('a pinned image replaces the words that named it', () => {
  const pin = (options: string[]): string => pinnedOption({ options, environment: new Map() }, 'img@sha256:0')
  assert.equal(pin(['container-image=a']), 'container-image=img@sha256:0')
  assert.equal(pin([option()]), option({ image: 'img@sha256:0' }))
  assert.equal(pin([option(), 'container-image=a']), 'container-image=img@sha256:0')
  assert.equal(pin(['image=docker:a']), 'image=docker:img@sha256:0')
  assert.equal(pin(['shifter.image=a']), 'shifter.image=docker:img@sha256:0')
  assert.equal(pin(['singularity-container=docker://a']), 'singularity-container=docker://img@sha256:0')
})

test.run()
