// SPDX-License-Identifier: Apache-2.0
/** CDI files are read strictly, file by file, and a directory of them as the specification says. */
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { readCdiCatalog } from '../../src/site/cdi.js'
import { parseCdi } from '../../src/site/cdi_spec.js'
import { DocumentProblem } from '../../src/site/document.js'
import { suite } from '../suite.js'
import { AMD_JSON, NVIDIA_YAML, withFiles } from './cdi_samples.js'

const test = suite('cdi files')
const EDITS = { env: ['A=b'] }
const spec = (more: object, edits: object = EDITS): string =>
  JSON.stringify({
    cdiVersion: '1.1.0',
    kind: 'a.b/c',
    devices: [{ name: 'x', containerEdits: edits }],
    ...more,
  })

function problemOf(text: string, file = 'x.json'): string {
  try {
    parseCdi(file, text)
  } catch (error) {
    if (error instanceof DocumentProblem) return error.message
    throw error
  }
  return ''
}

test('files of both toolkits are read, YAML and JSON', () => {
  const nvidia = parseCdi('nvidia.yaml', NVIDIA_YAML)
  assert.is(nvidia.kind, 'nvidia.com/gpu')
  assert.equal(
    nvidia.devices.map(({ name }) => name),
    ['0', '1', 'all'],
  )
  assert.is(nvidia.edits.hooks.length, 5)
  assert.equal(nvidia.edits.mounts[0]?.options, ['ro', 'nosuid', 'nodev', 'rbind', 'rprivate'])
  const amd = parseCdi('amd.json', AMD_JSON)
  assert.equal(amd.devices[0]?.edits.deviceNodes[1], {
    ...{ path: '/dev/dri/renderD128', hostPath: '/dev/dri/renderD128', owned: false },
    ...{ type: 'c', permissions: 'rw', major: 226, minor: 128 },
  })
})

test('all of 1.1.0 is understood', () => {
  const edits = {
    env: ['A=b'],
    deviceNodes: [
      {
        path: '/dev/x',
        hostPath: '/dev/y',
        type: 'c',
        major: 1,
        minor: 3,
        fileMode: 438,
        permissions: 'rwm',
        uid: 0,
        gid: 0,
      },
    ],
    mounts: [{ hostPath: '/a', containerPath: '/b', type: 'bind', options: ['ro'] }],
    hooks: [{ hookName: 'createContainer', path: '/x', args: ['x'], env: ['B=c'], timeout: 5 }],
    intelRdt: {
      closID: 'x',
      l3CacheSchema: 'L3:0=f',
      memBwSchema: 'MB:0=1',
      schemata: ['L3:0=f'],
      enableMonitoring: true,
    },
    additionalGids: [0, 44],
    netDevices: [{ hostInterfaceName: 'hsn0', name: 'hsn0' }],
  }
  const read = parseCdi('x.json', spec({ annotations: { a: 'b' }, containerEdits: edits }, edits))
  assert.equal(read.devices[0]?.edits.additionalGids, [44])
  assert.is(read.edits.intelRdt, true)
  assert.equal(read.edits.netDevices, [{ host: 'hsn0', name: 'hsn0' }])
})

const REFUSED: [string, string, RegExp][] = [
  ['an unknown field', spec({ extra: 1 }), /^extra: unknown field/],
  [
    'an unknown field of a device',
    spec({}, { ...EDITS, devicenodes: [] }),
    /^devices\[0\].containerEdits.devicenodes: unknown/,
  ],
  ['no version', JSON.stringify({ kind: 'a.b/c' }), /^cdiVersion: is missing/],
  ['a version that is not there', spec({ cdiVersion: '2.0.0' }), /^cdiVersion: unknown version "2.0.0"/],
  ['a kind without a vendor', spec({ kind: 'gpu' }), /^kind: should be vendor.com\/class/],
  ['a kind of three parts', spec({ kind: 'a/b/c' }), /^kind/],
  ['no devices', spec({ devices: [] }), /^devices: none/],
  [
    'a device twice',
    spec({ devices: ['x', 'x'].map((name) => ({ name, containerEdits: EDITS })) }),
    /x is there twice/,
  ],
  ['a device without edits', spec({}, {}), /a device without edits/],
  [
    'a name with a slash',
    spec({ devices: [{ name: 'a/b', containerEdits: EDITS }] }),
    /devices\[0\].name: no name/,
  ],
  ['a variable without =', spec({}, { env: ['A'] }), /env: should be NAME=VALUE/],
  [
    'a relative path',
    spec({}, { deviceNodes: [{ path: 'dev/x' }] }),
    /deviceNodes\[0\].path: should be an absolute/,
  ],
  [
    'a node of an unknown type',
    spec({}, { deviceNodes: [{ path: '/dev/x', type: 'z' }] }),
    /type: should be b, c, u, p/,
  ],
  ['permissions that are none', spec({}, { deviceNodes: [{ path: '/dev/x', permissions: 'all' }] }), /rwm/],
  ['a hook that is none', spec({}, { hooks: [{ hookName: 'later', path: '/x' }] }), /hookName: should be/],
  ['a mount without a target', spec({}, { mounts: [{ hostPath: '/a' }] }), /containerPath: is missing/],
  [
    'text for a number',
    spec({}, { deviceNodes: [{ path: '/dev/x', major: '1' }] }),
    /major: should be a whole number/,
  ],
  ['an object for a list', spec({ devices: {} }), /^devices: should be a list/],
  ['a list for the file', '[]', /the file: should be an object/],
  ['no JSON', '{', /JSON/],
  [
    'a name before its version',
    spec({ cdiVersion: '0.4.0', devices: [{ name: '0', containerEdits: EDITS }] }),
    /needs cdiVersion 0.5.0/,
  ],
  [
    'a host path before its version',
    spec({ cdiVersion: '0.4.0' }, { deviceNodes: [{ path: '/dev/x', hostPath: '/dev/x' }] }),
    /hostPath: needs cdiVersion 0.5.0/,
  ],
  [
    'groups before their version',
    spec({ cdiVersion: '0.6.0' }, { additionalGids: [4] }),
    /additionalGids: needs cdiVersion 0.7.0/,
  ],
  [
    'network devices before their version',
    spec({ cdiVersion: '1.0.0' }, { netDevices: [{ hostInterfaceName: 'a', name: 'b' }] }),
    /needs cdiVersion 1.1.0/,
  ],
  [
    'monitoring words of 1.0 in 1.1',
    spec({}, { intelRdt: { enableCMT: true } }),
    /enableCMT: is not of cdiVersion 1.1.0/,
  ],
  [
    'a dotted class before its version',
    spec({ cdiVersion: '0.5.0', kind: 'a.b/c.d' }),
    /kind: needs cdiVersion 0.6.0/,
  ],
]
for (const [what, text, pattern] of REFUSED) {
  test(`refused: ${what}`, () => assert.match(problemOf(text), pattern))
}

test('a file of YAML aliases that grow is refused, not expanded', () => {
  const lines = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
  for (const [from, to] of ['ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh'].map((pair) => pair.split('')))
    lines.push(`${to}: &${to} [${Array(10).fill(`*${from}`).join(', ')}]`)
  assert.match(problemOf(lines.join('\n'), 'x.yaml'), /alias/i)
})

test('a later directory is over an earlier one, and two files of one directory spoil a device', () => {
  const one = spec({}, { env: ['FROM=one'] })
  const two = spec({
    devices: [
      { name: 'x', containerEdits: { env: ['FROM=two'] } },
      { name: 'y', containerEdits: EDITS },
    ],
  })
  withFiles([{ 'a.json': one }, { 'b.json': two }], (directories) => {
    const { devices } = readCdiCatalog(directories)
    assert.equal(devices.get('a.b/c=x')?.device.edits.env, ['FROM=two'])
  })
  withFiles([{ 'a.json': one, 'b.json': two }], ([directory = '']) => {
    const { devices, conflicts } = readCdiCatalog([directory])
    assert.is(devices.has('a.b/c=x'), false)
    assert.is(devices.has('a.b/c=y'), true)
    assert.equal(
      conflicts.get('a.b/c=x'),
      ['a', 'b'].map((name) => join(directory, `${name}.json`)),
    )
  })
})

test('a broken file takes only its own devices away, and is read again when it changes', () => {
  withFiles(
    [{ 'a.json': spec({}), 'b.yaml': 'cdiVersion: [', 'c.txt': 'no CDI file' }],
    ([directory = '']) => {
      const first = readCdiCatalog([directory])
      assert.is(first.devices.size, 1)
      assert.is(first.problems.length, 1)
      assert.match(first.problems[0]?.file ?? '', /b\.yaml$/)
      writeFileSync(join(directory, 'b.yaml'), NVIDIA_YAML)
      assert.is(readCdiCatalog([directory]).devices.has('nvidia.com/gpu=all'), true)
    },
  )
})

test('what others than root can write is not read at all', () => {
  withFiles([{ 'a.json': spec({}), 'b.json': spec({ kind: 'd.e/f' }) }], ([directory = '']) => {
    chmodSync(join(directory, 'a.json'), 0o666)
    const seen = readCdiCatalog([directory, '/nonexistent'])
    assert.equal([...seen.devices.keys()], ['d.e/f=x'])
    assert.match(seen.problems[0]?.problem ?? '', /others than root can write/)
    chmodSync(directory, 0o777)
    assert.is(readCdiCatalog([directory]).devices.size, 0)
  })
})

test('damaged files end in a problem or a spec, never otherwise, and soon', () => {
  const start = performance.now()
  let seed = 1
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return seed % below
  }
  for (let round = 0; round < 1500; round++) {
    const yaml = round % 2 === 0
    const bytes = Buffer.from(yaml ? NVIDIA_YAML : AMD_JSON)
    for (let hits = 1 + random(4); hits > 0; hits--) {
      const at = random(bytes.length)
      if (random(3) === 0) bytes.copy(bytes, at, random(bytes.length))
      else bytes[at] = ' {}[]:,"&*-\n\t\\0~!%x'.charCodeAt(random(20))
    }
    problemOf(bytes.toString('utf8'), yaml ? 'x.yaml' : 'x.json')
  }
  assert.ok(performance.now() - start < 30_000)
})

test.run()
