// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto'
import * as assert from 'uvu/assert'
import { readBounded } from '../../src/image/body.js'
import type { CredentialDocument } from '../../src/image/credentials.js'
import { Fetcher } from '../../src/image/fetch.js'
import { MirroredReader } from '../../src/image/mirror.js'
import { badMirror, mirrorsOf } from '../../src/image/mirror_rules.js'
import { verified } from '../../src/image/reader.js'
import { parseReference } from '../../src/image/reference.js'
import { RegistryReader } from '../../src/image/registry.js'
import { failure } from '../failure.js'
import { basic, FakeRegistry, freePort, type Handler } from '../registry.js'
import { suite } from '../suite.js'
import { FAST, HOST, LAYER } from './image_place.js'

const test = suite('registry mirrors')

interface Place {
  host: FakeRegistry
  mirror: FakeRegistry
  digest: string
  /** What was told of mirrors that failed. */
  told: string[]
  reader: (options?: { mirrors?: string[]; documents?: CredentialDocument[] }) => MirroredReader
}

/** One image at a registry and, unless the test takes it away, at its mirror below `hub/`. */
async function withMirror(body: (place: Place) => Promise<void>): Promise<void> {
  const host = await FakeRegistry.start()
  const mirror = await FakeRegistry.start()
  const fetcher = new Fetcher({}, FAST)
  try {
    const { digest } = host.putImage([LAYER])
    mirror.putImage([LAYER])
    const { source } = parseReference(`${host.host}/team/a`)
    if (source.kind !== 'registry') throw new Error('no registry')
    const told: string[] = []
    await body({
      host,
      mirror,
      digest,
      told,
      reader({ mirrors = [`${host.host}=${mirror.host}/hub`], documents = [] } = {}) {
        const [registry, ...others] = [source, ...mirrorsOf(source, mirrors)].map(
          (place) => new RegistryReader(place, fetcher, HOST, documents),
        )
        if (registry === undefined) throw new Error('no reader')
        return new MirroredReader(others, registry, HOST, (at, problem) => told.push(`${at}: ${problem}`))
      },
    })
  } finally {
    await fetcher.close()
    await host.stop()
    await mirror.stop()
  }
}

async function pull(reader: MirroredReader): Promise<string> {
  const digest = await reader.resolve()
  const [layer] = (await reader.open(digest)).layers
  if (layer === undefined) throw new Error('no layer')
  assert.ok(LAYER.equals(await readBounded(verified(reader.layer(layer), layer), layer.size)))
  return digest
}

const refuse: Handler = (_, response) => {
  response.writeHead(403).end()
  return true
}

test('manifests and blobs come from the mirror, and the registry is not asked', () =>
  withMirror(async ({ host, mirror, digest, reader }) => {
    assert.is(await pull(reader()), digest)
    assert.is(host.asked.length, 0)
    assert.ok(mirror.asked.every(({ url }) => url.startsWith('/v2/hub/team/a/')))
    assert.is(reader().open_to_all, true)
  }))

test('what the mirror lacks, refuses or cannot be asked for comes from the registry', () =>
  withMirror(async ({ host, mirror, digest, told, reader }) => {
    mirror.manifests.clear()
    assert.is(await pull(reader()), digest)
    const asked = host.asked.length
    assert.ok(asked > 0)
    assert.equal(told, [])
    mirror.before.push(refuse)
    assert.is(await pull(reader()), digest)
    const gone = `127.0.0.1:${await freePort()}`
    assert.is(await pull(reader({ mirrors: [`${host.host}=${gone}`] })), digest)
    assert.is(told.at(-1), `${gone}: it refuses connections`)
    assert.ok(host.asked.length > asked)
  }))

test('a layer that the mirror breaks off or a manifest that it swaps is had from the registry', () =>
  withMirror(async ({ host, mirror, digest, reader }) => {
    mirror.before.push((request, response) => {
      if (request.url?.includes('/blobs/') !== true) return false
      if (request.headers.range !== undefined) return refuse(request, response)
      response.writeHead(200, { 'content-length': LAYER.length })
      response.write(LAYER.subarray(0, 100_000), () => response.destroy())
      return true
    })
    assert.is(await pull(reader()), digest)
    assert.ok(host.asked.some(({ url }) => url.includes('/blobs/')))
    const other = mirror.putImage([randomBytes(10)])
    const swapped = mirror.manifests.get(other.digest)
    if (swapped !== undefined) mirror.manifests.set(digest, swapped)
    assert.is((await reader().open(digest)).digest, digest)
  }))

test('each gets its own login only, and an image that one gives for a login is not open to all', () =>
  withMirror(async ({ host, mirror, reader }) => {
    mirror.manifests.clear()
    for (const registry of [host, mirror])
      registry.before.push((request, response) => {
        if (request.headers.authorization !== undefined) return false
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
        return true
      })
    const auths = Object.fromEntries(
      [host, mirror].map((one) => [one.host, { username: one.host, password: 'p' }]),
    )
    const documents = [{ path: '/d', kind: 'docker' as const, text: JSON.stringify({ auths }) }]
    const one = reader({ documents })
    await pull(one)
    assert.is(one.open_to_all, false)
    for (const registry of [host, mirror]) {
      const sent = new Set(registry.asked.map(({ headers }) => headers.authorization))
      sent.delete(undefined)
      assert.equal([...sent], [basic(registry.host, 'p')])
    }
  }))

test("when all fail, the registry's own failure is told; other hosts' images know no mirror", () =>
  withMirror(async ({ host, mirror, reader }) => {
    host.manifests.clear()
    mirror.before.push(refuse)
    const error = await failure(reader().resolve())
    assert.is(error.code, 'BERTH_EIMAGENOTFOUND')
    assert.match(String(error.fields.problem), host.host)
    const asked = mirror.asked.length
    await failure(reader({ mirrors: [`other.example=${mirror.host}`] }).resolve())
    assert.is(mirror.asked.length, asked)
  }))

test('an entry that is no HOST=MIRROR[/PREFIX] is found', () => {
  assert.is(badMirror(['docker.io=cache:5000', 'Quay.io=[::1]:80/a/b']), undefined)
  for (const rule of ['docker.io', 'a=', '=b', 'a=https://b', 'a=b/'])
    assert.is(badMirror(['x=y', rule]), rule)
})

test.run()
