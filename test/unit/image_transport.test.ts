// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import { createServer as createHttps, type Server } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { readBounded } from '../../src/image/body.js'
import { Fetcher } from '../../src/image/fetch.js'
import { importerEnvironment } from '../../src/store/importer.js'
import { failure } from '../failure.js'
import { suite } from '../suite.js'
import { FAST } from './image_place.js'

const test = suite('registry transport')
let folder: string
let server: Server
let port: number
const ca = () => join(folder, 'cert.pem')

test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'berth-tls-'))
  const subject = [
    '-subj',
    '/CN=registry.example',
    '-addext',
    'subjectAltName=DNS:registry.example,DNS:localhost',
  ]
  const files = ['-keyout', join(folder, 'key.pem'), '-out', ca()]
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files],
    {
      stdio: 'ignore',
    },
  )
  const pair = { key: readFileSync(join(folder, 'key.pem')), cert: readFileSync(ca()) }
  server = createHttps(pair, (request, response) => {
    if (request.url === '/down') response.writeHead(302, { location: 'http://localhost:1/' }).end()
    else response.end(`hello ${request.headers.host}`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})

test.after(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  rmSync(folder, { recursive: true, force: true })
})

async function withFetcher<T>(
  env: Record<string, string>,
  body: (fetcher: Fetcher) => Promise<T>,
): Promise<T> {
  const fetcher = new Fetcher(env, FAST)
  try {
    return await body(fetcher)
  } finally {
    await fetcher.close()
  }
}

async function say(fetcher: Fetcher, url: string): Promise<string> {
  const reply = await fetcher.ask(new URL(url))
  return (await readBounded(reply.body, 1000)).toString()
}

test("the site's own CA is trusted where it is named, and nothing else is", async () => {
  const url = `https://localhost:${port}/`
  assert.is(
    await withFetcher({ SSL_CERT_FILE: ca() }, (fetcher) => say(fetcher, url)),
    `hello localhost:${port}`,
  )
  assert.is(
    await withFetcher({ BERTH_EXTRA_CA_CERTS: ca() }, (fetcher) => say(fetcher, url)),
    `hello localhost:${port}`,
  )
  const error = await failure(withFetcher({}, (fetcher) => say(fetcher, url)))
  assert.is(error.code, 'BERTH_EREGISTRY')
  assert.match(error.message, 'its certificate is self-signed')
})

test('what NODE_EXTRA_CA_CERTS names for the worker is told to importers, and not to their Node.js', () => {
  const before = process.env.NODE_EXTRA_CA_CERTS
  process.env.NODE_EXTRA_CA_CERTS = '/site/ca.pem'
  try {
    const { NODE_EXTRA_CA_CERTS: ofNode, BERTH_EXTRA_CA_CERTS: ofOurs } = importerEnvironment({})
    assert.equal([ofNode, ofOurs], [undefined, '/site/ca.pem'])
  } finally {
    if (before === undefined) delete process.env.NODE_EXTRA_CA_CERTS
    else process.env.NODE_EXTRA_CA_CERTS = before
  }
  assert.is(importerEnvironment({}).BERTH_EXTRA_CA_CERTS, before)
})

test('a certificate for another host is no certificate, and https never falls back to http', async () => {
  const fetchers = { SSL_CERT_FILE: ca() }
  const wrong = await failure(withFetcher(fetchers, (fetcher) => say(fetcher, `https://127.0.0.1:${port}/`)))
  assert.match(wrong.message, 'its certificate is for another host')
  const down = await failure(
    withFetcher(fetchers, (fetcher) => say(fetcher, `https://localhost:${port}/down`)),
  )
  assert.match(down.message, 'redirects from https to http')
})

test('a proxy is used by CONNECT; TLS stays between us and the registry', async () => {
  const asked: string[] = []
  const proxy = createHttp()
  proxy.on('connect', (request, socket) => {
    asked.push(request.url ?? '')
    const through = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(through).pipe(socket)
    })
    through.on('error', () => socket.destroy())
    socket.on('error', () => through.destroy())
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const env = {
    https_proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    SSL_CERT_FILE: ca(),
  }
  try {
    const said = await withFetcher(env, (fetcher) => say(fetcher, 'https://registry.example/'))
    assert.is(said, 'hello registry.example')
    assert.equal(asked, ['registry.example:443'])
  } finally {
    proxy.closeAllConnections()
    await new Promise((resolve) => proxy.close(resolve))
  }
})

test('who waits is told of a registry that wants to be asked later, and by which answer', async () => {
  const busy = createHttp((_, response) => response.writeHead(429, { 'retry-after': '30' }).end())
  await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(busy.address() as AddressInfo).port}`
  const fetcher = new Fetcher({}, { ...FAST, retry_after_ms_max: 60_000 })
  const enough = new AbortController()
  const told = new Promise((resolve) => {
    fetcher.onWait = (...words) => resolve(words)
  })
  const asked = fetcher.ask(new URL(`http://${host}/`), { signal: enough.signal }).catch(() => undefined)
  const words = await told
  enough.abort()
  await asked
  await fetcher.close()
  await new Promise((resolve) => busy.close(resolve))
  assert.equal(words, [host, 2, 429])
})

test.run()
