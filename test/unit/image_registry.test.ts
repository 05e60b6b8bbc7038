// SPDX-License-Identifier: Apache-2.0
import * as assert from 'uvu/assert'
import { readBounded } from '../../src/image/body.js'
import type { CredentialDocument } from '../../src/image/credentials.js'
import { Fetcher } from '../../src/image/fetch.js'
import { verified } from '../../src/image/reader.js'
import { RegistryReader } from '../../src/image/registry.js'
import { failure } from '../failure.js'
import { basic, FakeRegistry, type Handler } from '../registry.js'
import { suite } from '../suite.js'
import { FAST, HOST, isBlob, LAYER, withRegistry } from './image_place.js'

const test = suite('registry client')
async function readLayer(reader: RegistryReader): Promise<Buffer> {
  const image = await reader.open(await reader.resolve())
  const layer = image.layers[0]
  if (layer === undefined) throw new Error('no layer')
  return readBounded(verified(reader.layer(layer), layer), layer.size)
}

const login = (host: string, user: string, password: string): CredentialDocument[] => [
  {
    path: '/home/u/.docker/config.json',
    kind: 'docker',
    text: JSON.stringify({ auths: { [host]: { username: user, password } } }),
  },
]

test('a tag is resolved by one HEAD with all four types accepted, and pulled by digest', () =>
  withRegistry(async ({ registry, digest, reader }) => {
    assert.is(await reader().resolve(), digest)
    assert.equal(
      registry.asked.map(({ method, url }) => `${method} ${url}`),
      ['HEAD /v2/team/a/manifests/latest'],
    )
    assert.match(String(registry.asked[0]?.headers.accept), 'vnd.oci.image.index.v1+json')
    assert.is(registry.asked[0]?.headers['accept-encoding'], 'identity')
    assert.ok(LAYER.equals(await readLayer(reader())))
    assert.ok(registry.asked.some(({ url }) => url?.endsWith(`/manifests/${digest}`)))
  }))

test('a registry that answers no HEAD, or tells no digest, is asked by GET once', () =>
  withRegistry(async ({ registry, digest, reader }) => {
    registry.before.push((request, response) => {
      if (request.method !== 'HEAD') return false
      response.writeHead(405).end()
      return true
    })
    const one = reader()
    assert.is(await one.resolve(), digest)
    await one.open(digest)
    const manifests = registry.asked.filter(
      ({ method, url }) => method === 'GET' && url?.includes('/manifests/'),
    )
    assert.is(manifests.length, 1)
  }))

test('an index leads to the image for this processor, also a nested one', () =>
  withRegistry(async ({ registry, digest, reader }) => {
    const type = 'application/vnd.oci.image.index.v1+json'
    const inner = registry.putManifest(
      {
        schemaVersion: 2,
        manifests: [{ ...entry(digest), platform: { os: 'linux', architecture: 'amd64' } }],
      },
      type,
    )
    const outer = registry.putManifest(
      { schemaVersion: 2, mediaType: type, manifests: [inner] },
      type,
      'multi',
    )
    const one = reader({ name: 'team/a:multi' })
    assert.is(await one.resolve(), outer.digest)
    assert.is((await one.open(outer.digest)).digest, digest)
  }))

function entry(digest: string) {
  return { digest, size: 1, mediaType: 'application/vnd.oci.image.manifest.v1+json' }
}

test('a missing tag is told as such', () =>
  withRegistry(async ({ registry, reader }) => {
    const error = await failure(reader({ name: 'team/a:gone' }).resolve())
    assert.is(error.code, 'BERTH_EIMAGENOTFOUND')
    assert.is(error.fields.problem, `${registry.host} has no such image or tag`)
  }))

test('an anonymous token is fetched as the challenge says, once, and sent with each request', () =>
  withRegistry(async ({ registry, digest, reader }) => {
    registry.before.push(bearer(registry, 'T1'))
    const one = reader()
    assert.is(await one.resolve(), digest)
    assert.is(one.open_to_all, true)
    await readLayer(one)
    const tokens = registry.asked.filter(({ url }) => url?.startsWith('/token'))
    assert.equal(
      tokens.map(({ url }) => url),
      ['/token?a=1&service=the+one&scope=repository%3Ateam%2Fa%3Apull'],
    )
    assert.is(tokens[0]?.headers.authorization, undefined)
  }))

/** Wants `Bearer token`; its token server takes anybody, or only `Basic` user:secret. */
function bearer(registry: FakeRegistry, token: string, secret?: string): Handler {
  return (request, response) => {
    if (request.url?.startsWith('/token') === true) {
      const wrong = secret !== undefined && request.headers.authorization !== basic('user', secret)
      response.writeHead(wrong ? 401 : 200).end(JSON.stringify({ access_token: token, expires_in: 300 }))
      return true
    }
    if (request.headers.authorization === `Bearer ${token}`) return false
    const realm = `${registry.origin}/token?a=1`
    response.writeHead(401, {
      'www-authenticate': [
        'Negotiate',
        `Bearer realm="${realm}",service="the one",scope="repository:team/a:pull"`,
      ],
    })
    response.end()
    return true
  }
}

test("the user's login goes to the token server, and to a registry that wants Basic", () =>
  withRegistry(async ({ registry, digest, reader }) => {
    registry.before.push(bearer(registry, 'T2', 'secret'))
    const one = reader({ documents: login(registry.host, 'user', 'secret') })
    assert.is(await one.resolve(), digest)
    assert.is(one.open_to_all, false)
    registry.before[0] = (request, response) => {
      if (request.headers.authorization === basic('user', 'secret')) return false
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      return true
    }
    assert.is(await reader({ documents: login(registry.host, 'user', 'secret') }).resolve(), digest)
  }))

test('a wrong or missing login is told with the files that were looked at', () =>
  withRegistry(async ({ registry, reader }) => {
    registry.before.push(bearer(registry, 'T3', 'secret'))
    const wrong = await failure(reader({ documents: login(registry.host, 'user', 'wrong') }).resolve())
    assert.is(wrong.code, 'BERTH_EAUTH')
    assert.match(wrong.hint, '/home/u/.docker/config.json')
    assert.not.match(`${wrong.message}${wrong.hint}`, 'wrong:')
    assert.is((await failure(reader().resolve())).code, 'BERTH_EAUTH')
    assert.ok(registry.asked.length < 10)
  }))

test('a token that ends in the middle is renewed', () =>
  withRegistry(async ({ registry, reader }) => {
    registry.before.push(bearer(registry, 'T4'))
    const one = reader()
    const digest = await one.resolve()
    registry.before[0] = bearer(registry, 'T5')
    assert.is((await one.open(digest)).digest, digest)
  }))

test('a realm inside the site never sees a request', () =>
  withRegistry(async ({ registry, reader }) => {
    registry.before.push((_request, response) => {
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="http://169.254.169.254/token"' }).end()
      return true
    })
    const error = await failure(reader({ documents: login(registry.host, 'user', 'secret') }).resolve())
    assert.is(error.code, 'BERTH_EREGISTRY')
    assert.match(error.message, 'place that credentials must not go to')
  }))

test('a redirect to another host gets no Authorization, also not on later hops', () =>
  withRegistry(async ({ registry, reader }) => {
    const storage = await FakeRegistry.start()
    try {
      registry.before.push(bearer(registry, 'T6'), (request, response) => {
        if (!isBlob(request.url)) return false
        response.writeHead(307, { location: `${storage.origin}${request.url}` }).end()
        return true
      })
      storage.before.push((request, response) => {
        if (request.headers.authorization !== undefined) response.writeHead(400).end()
        else if (request.url?.startsWith('/signed/') === true) return false
        else response.writeHead(302, { location: String(request.url).replace('/v2/', '/signed/') }).end()
        return true
      })
      for (const [digest, bytes] of registry.blobs) storage.blobs.set(digest, bytes)
      assert.ok(LAYER.equals(await readLayer(reader())))
      assert.ok(storage.asked.length >= 2)
      assert.ok(storage.asked.every(({ headers }) => headers.authorization === undefined))
    } finally {
      await storage.stop()
    }
  }))

test('redirects without end, to plain http elsewhere or to nonsense are refused', () =>
  withRegistry(async ({ registry, reader }) => {
    let location = '/v2/again'
    registry.before.push((_request, response) => {
      response.writeHead(302, { location }).end()
      return true
    })
    assert.match((await failure(reader().resolve())).message, 'more than 10 times')
    location = 'http://registry.example/v2/'
    assert.match((await failure(reader().resolve())).message, 'without encryption')
    location = 'file:///etc/passwd'
    assert.match((await failure(reader().resolve())).message, 'no web address')
  }))

test('passing troubles are asked again, lasting ones told', () =>
  withRegistry(async ({ registry, digest, reader }) => {
    let left = 3
    registry.before.push((request, response) => {
      if (left-- <= 0) return false
      if (left === 1) request.socket.destroy()
      else response.writeHead(503).end()
      return true
    })
    assert.is(await reader().resolve(), digest)
    left = 100
    const error = await failure(reader().resolve())
    assert.is(error.code, 'BERTH_EREGISTRY')
    assert.match(error.message, 'HTTP 503')
  }))

test('Retry-After is heeded, but not for an hour', () =>
  withRegistry(async ({ registry, digest, reader }) => {
    let wait = '1'
    const answered: number[] = []
    registry.before.push((_request, response) => {
      answered.push(Date.now())
      if (answered.length > 1 && wait === '1') return false
      response.writeHead(429, { 'retry-after': wait }).end()
      return true
    })
    assert.is(await reader().resolve(), digest)
    assert.ok((answered[1] ?? 0) - (answered[0] ?? 0) >= 950)
    wait = '3600'
    const start = Date.now()
    const error = await failure(reader().resolve())
    assert.match(error.message, /limits the rate of requests \(HTTP 429\), and wants 3600 s/)
    assert.ok(Date.now() - start < 60_000)
  }))

test('a manifest that is not what was asked for is found out', () =>
  withRegistry(async ({ registry, digest, reader }) => {
    registry.manifests.set(digest, { bytes: Buffer.from('{}'), type: 'x' })
    const error = await failure(reader().open(digest))
    assert.is(error.code, 'BERTH_EDIGEST')
    registry.manifests.set('latest', { bytes: Buffer.alloc((4 << 20) + 1, 32), type: 'x' })
    assert.is((await failure(reader().open(`sha256:${'0'.repeat(64)}`))).code, 'BERTH_EIMAGENOTFOUND')
  }))

test('one that takes the question and says nothing is asked twice, and no more', async () => {
  const registry = await FakeRegistry.start()
  registry.before.push(() => true)
  const fetcher = new Fetcher({}, { ...FAST, silence_ms_max: 100 })
  const source = { kind: 'registry' as const, host: registry.host, repository: 'a', tag: 'b' }
  const error = await failure(new RegistryReader(source, fetcher, HOST).resolve())
  assert.match(error.message, 'it said nothing')
  await fetcher.close()
  // What was sent and given up is read all the same, perhaps only now.
  await registry.stop()
  assert.is(registry.asked.length, 2)
})

test('an unreachable registry is named, with what is wrong', async () => {
  const registry = await FakeRegistry.start()
  const { host } = registry
  await registry.stop()
  const fetcher = new Fetcher({}, FAST)
  const source = { kind: 'registry' as const, host, repository: 'a', tag: 'b' }
  const refused = await failure(new RegistryReader(source, fetcher, HOST).resolve())
  assert.is(refused.code, 'BERTH_EREGISTRY')
  assert.match(refused.message, `${host}: it refuses connections`)
  const nowhere = { ...source, host: 'registry.invalid' }
  const error = await failure(new RegistryReader(nowhere, fetcher, HOST).resolve())
  assert.match(error.message, /no such host|cannot be resolved/)
  await fetcher.close()
})

test.run()
