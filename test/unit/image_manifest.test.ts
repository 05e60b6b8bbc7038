// SPDX-License-Identifier: Apache-2.0
import * as assert from 'uvu/assert'
import { parseConfig } from '../../src/image/config.js'
import { type IndexEntry, parseManifest } from '../../src/image/manifest.js'
import { checkPlatform, choosePlatform, hostPlatform } from '../../src/image/platform.js'
import { BerthError } from '../../src/report/errors.js'
import { suite } from '../suite.js'

const test = suite('manifest')
const DIGEST = `sha256:${'1'.repeat(64)}`
const OCI = 'application/vnd.oci.image.'
const CONFIG = { mediaType: `${OCI}config.v1+json`, digest: DIGEST, size: 10 }
const LAYER = { mediaType: `${OCI}layer.v1.tar+gzip`, digest: DIGEST, size: 10 }
const IMAGE = { schemaVersion: 2, mediaType: `${OCI}manifest.v1+json`, config: CONFIG, layers: [LAYER] }

function parse(json: unknown, type?: string) {
  return parseManifest(Buffer.from(typeof json === 'string' ? json : JSON.stringify(json)), type)
}

function problem(run: () => unknown, code = 'BERTH_EMANIFEST'): string {
  try {
    run()
  } catch (error) {
    assert.instance(error, BerthError, String(error))
    assert.is((error as BerthError).code, code)
    return String((error as BerthError).fields.problem ?? (error as BerthError).message)
  }
  throw new Error('was accepted')
}

test('OCI and Docker manifests are read, whatever the registry calls them', () => {
  assert.is(parse(IMAGE).kind, 'manifest')
  assert.is(parse(IMAGE, 'application/json').kind, 'manifest')
  assert.is(parse({ ...IMAGE, mediaType: undefined }, 'text/plain').kind, 'manifest')
  const docker = {
    ...IMAGE,
    mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
    config: { ...CONFIG, mediaType: 'application/vnd.docker.container.image.v1+json' },
    layers: [{ ...LAYER, mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip' }],
  }
  assert.is(
    parse(docker, 'application/vnd.docker.distribution.manifest.v2+json; charset=utf-8').kind,
    'manifest',
  )
})

test('a document that is two things at once is refused', () => {
  assert.match(
    problem(() => parse({ ...IMAGE, manifests: [] })),
    'claims to be an index',
  )
  assert.match(
    problem(() => parse(IMAGE, `${OCI}index.v1+json`)),
    'sent as index but says',
  )
})

test('what is no image is refused by name', () => {
  assert.match(
    problem(() => parse({ schemaVersion: 1, fsLayers: [] })),
    'schema 1',
  )
  const sif = { ...CONFIG, mediaType: 'application/vnd.sylabs.sif.config.v1+json' }
  assert.match(
    problem(() => parse({ ...IMAGE, config: sif })),
    'artifact of type "application/vnd.sylabs.sif.config.v1+json"',
  )
  const layer = (mediaType: string) => ({ ...IMAGE, layers: [{ ...LAYER, mediaType }] })
  assert.match(
    problem(() => parse(layer(`${OCI}layer.v1.tar+gzip+encrypted`))),
    'encrypted',
  )
  assert.match(
    problem(() => parse(layer('text/html'))),
    'unknown type "text/html"',
  )
  for (const kind of ['tar', 'tar+gzip', 'tar+zstd']) assert.ok(parse(layer(`${OCI}layer.v1.${kind}`)))
  assert.ok(parse(layer(`${OCI}layer.nondistributable.v1.tar+gzip`)))
})

test('descriptors are checked before anything is done with them', () => {
  const layers = (layer: unknown) => problem(() => parse({ ...IMAGE, layers: [layer] }))
  assert.match(layers({ ...LAYER, digest: '../../etc/passwd' }), 'no sha256 digest')
  assert.match(layers({ ...LAYER, digest: `sha256:${'A'.repeat(64)}` }), 'no sha256 digest')
  assert.match(layers({ ...LAYER, size: -1 }), 'impossible size')
  assert.match(layers({ ...LAYER, size: 1e300 }), 'impossible size')
  assert.match(layers({ ...LAYER, size: '10' }), 'impossible size')
  assert.match(layers(null), 'malformed')
  assert.match(
    problem(() => parse({ ...IMAGE, layers: Array.from({ length: 501 }, () => LAYER) })),
    'over 500 layers',
  )
  assert.match(
    problem(() => parse({ ...IMAGE, layers: [] })),
    'no layers',
  )
  for (const text of ['', '[', '[]', 'null', '"x"', '{}']) problem(() => parse(text))
})

test('this processor gets its own entry, the best variant first', () => {
  const entry = (architecture: string, variant = '', os = 'linux'): IndexEntry => ({
    digest: `${os}/${architecture}/${variant}`,
    size: 1,
    mediaType: '',
    platform: { os, architecture, variant },
    annotations: {},
  })
  const cpu = (flags: string) => hostPlatform('x64', `processor: 0\nflags\t\t: ${flags}\n`)
  const old = cpu('fpu sse2')
  const v3 = cpu('cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 f16c fma movbe')
  const list = [entry('arm64', 'v8'), entry('amd64', 'v3'), entry('amd64'), entry('amd64', '', 'windows')]
  assert.is(choosePlatform(list, v3).digest, 'linux/amd64/v3')
  assert.is(choosePlatform(list, old).digest, 'linux/amd64/')
  assert.is(choosePlatform(list, hostPlatform('arm64', '')).digest, 'linux/arm64/v8')
  assert.is(
    choosePlatform([entry('arm64'), entry('arm64', 'v8')], hostPlatform('arm64', '')).digest,
    'linux/arm64/v8',
  )
  assert.is(
    choosePlatform([entry('arm', 'v6'), entry('arm', 'v5')], hostPlatform('arm', '')).digest,
    'linux/arm/v6',
  )
  assert.match(
    problem(() => choosePlatform(list, hostPlatform('ppc64', '')), 'BERTH_EPLATFORM'),
    /linux\/ppc64le.*linux\/arm64\/v8, linux\/amd64\/v3, linux\/amd64, windows\/amd64/,
  )
})

test('attestations are no images', () => {
  const unknown = { os: 'unknown', architecture: 'unknown', variant: '' }
  const attached: IndexEntry = {
    digest: 'x',
    size: 1,
    mediaType: '',
    platform: unknown,
    annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
  }
  assert.match(
    problem(() => choosePlatform([attached], hostPlatform('x64', '')), 'BERTH_EPLATFORM'),
    'only attachments',
  )
})

test('an image without an index is held to its own words', () => {
  const host = hostPlatform('x64', '')
  checkPlatform({ os: 'linux', architecture: 'amd64', variant: 'v2' }, host)
  checkPlatform({ os: '', architecture: '', variant: '' }, host)
  assert.match(
    problem(
      () => checkPlatform({ os: 'linux', architecture: 'arm64', variant: '' }, host),
      'BERTH_EPLATFORM',
    ),
    'only linux/arm64',
  )
})

test('the config is reduced to what a start needs, and bounded', () => {
  const config = (inner: unknown, diffIds = [DIGEST]) =>
    parseConfig(
      Buffer.from(
        JSON.stringify({ os: 'linux', architecture: 'amd64', config: inner, rootfs: { diff_ids: diffIds } }),
      ),
      1,
    )
  const { config: parsed } = config({
    Env: ['A=b', 'broken', '=x', 'PATH=/bin:/opt'],
    Entrypoint: ['/run'],
    Cmd: null,
    WorkingDir: '/w',
    Labels: { small: 'x', large: 'x'.repeat(100_000), odd: 5 },
  })
  assert.equal(parsed.env, ['A=b', 'PATH=/bin:/opt'])
  assert.equal(parsed.entrypoint, ['/run'])
  assert.equal(parsed.cmd, [])
  assert.equal(parsed.labels, { small: 'x' })
  assert.match(
    problem(() => config({ Env: ['A=\0'] })),
    'malformed Env',
  )
  assert.match(
    problem(() => config({ Env: [`A=${'x'.repeat(300_000)}`] })),
    'over 256 KiB',
  )
  assert.match(
    problem(() => config({ WorkingDir: '\0' })),
    'malformed WorkingDir',
  )
  assert.match(
    problem(() => config({}, [])),
    '1 layers, but its config knows 0',
  )
  assert.ok(config(null))
})

test.run()
