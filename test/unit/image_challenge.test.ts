// SPDX-License-Identifier: Apache-2.0
import * as assert from 'uvu/assert'
import { parseChallenges, pickChallenge } from '../../src/image/challenge.js'
import { findCredential } from '../../src/image/credentials.js'
import { isRealmAllowed, proxyFor, registryOrigin } from '../../src/image/origin.js'
import { parseRetryAfter, RETRY, waitBefore } from '../../src/image/retry.js'
import { suite } from '../suite.js'

const test = suite('registry login')

function plain(headers: string[]) {
  return parseChallenges(headers).map(({ scheme, params }) => [scheme, Object.fromEntries(params)])
}

test('a challenge is read with commas inside quotes, any case, quoted or not', () => {
  assert.equal(
    plain([
      'Bearer realm="https://auth.example/token",service="registry, the one",scope="repository:a:pull,push"',
    ]),
    [
      [
        'bearer',
        {
          realm: 'https://auth.example/token',
          service: 'registry, the one',
          scope: 'repository:a:pull,push',
        },
      ],
    ],
  )
  assert.equal(plain(['BEARER Realm = https://x/y?a=1 , Service=s']), [
    ['bearer', { realm: 'https://x/y?a=1', service: 's' }],
  ])
  assert.equal(plain(['Basic realm="a \\"b\\""']), [['basic', { realm: 'a "b"' }]])
})

test('several challenges in one header and several headers are all seen; what can be answered is picked', () => {
  const challenges = parseChallenges(['Negotiate, Basic realm="x", Bearer realm="https://a/t"', 'Negotiate'])
  assert.equal(
    challenges.map(({ scheme }) => scheme),
    ['negotiate', 'basic', 'bearer', 'negotiate'],
  )
  assert.is(pickChallenge(challenges)?.scheme, 'bearer')
  assert.is(pickChallenge(parseChallenges(['Negotiate', 'Basic realm=x']))?.scheme, 'basic')
  assert.is(pickChallenge(parseChallenges(['Negotiate abc==']))?.scheme, undefined)
})

test('a hostile header costs no time and throws nothing', () => {
  for (const header of ['', '=', ',,,,', '"', 'a="', 'Bearer realm="'.repeat(5000), '\\'.repeat(20_000)]) {
    const start = process.cpuUsage()
    parseChallenges([header])
    // Of the processor: others may want it meanwhile.
    assert.ok(process.cpuUsage(start).user < 5_000_000, header.slice(0, 20))
  }
})

test('credentials: the longest namespace wins, hosts are compared exactly, the password keeps its colons', () => {
  const auth = (text: string) => Buffer.from(text).toString('base64')
  const text = JSON.stringify({
    auths: {
      'quay.io': { auth: auth('host:1') },
      'quay.io/org': { auth: auth('org:p:a:s') },
      'https://index.docker.io/v1/': { auth: auth('hub:2') },
      'evil-quay.io': { auth: auth('evil:3') },
      'acr.io': { identitytoken: 'refresh' },
    },
  })
  const find = (host: string, repository: string, user?: string) =>
    findCredential([{ path: 'p', kind: 'docker', text }], host, repository, user)
  assert.equal(find('quay.io', 'org/repo'), { username: 'org', password: 'p:a:s' })
  assert.equal(find('quay.io', 'organ/repo'), { username: 'host', password: '1' })
  assert.equal(find('docker.io', 'library/x')?.username, 'hub')
  assert.is(find('uay.io', 'x'), undefined)
  assert.is(find('quay.io:443', 'x'), undefined)
  assert.is(find('quay.io', 'org/repo', 'other'), undefined)
  assert.is(find('acr.io', 'x')?.identityToken, 'refresh')
})

test("enroot's netrc is read, with and without the port; broken files hold nothing", () => {
  const text =
    '# NGC\nmachine nvcr.io login $oauthtoken password KEY\nmachine git.x\n  login "a b"\n  password \'c d\'\n'
  const find = (host: string, user?: string) =>
    findCredential([{ path: 'p', kind: 'netrc', text }], host, 'r', user)
  assert.equal(find('nvcr.io'), { username: '$oauthtoken', password: 'KEY' })
  assert.equal(find('git.x:5050'), { username: 'a b', password: 'c d' })
  assert.is(find('nvcr.io', 'somebody'), undefined)
  assert.is(find('authn.nvidia.com'), undefined)
  for (const broken of ['', '{', '[]', 'null', '{"auths":[]}', '{"auths":{"a":5}}']) {
    assert.is(findCredential([{ path: 'p', kind: 'docker', text: broken }], 'a', 'r'), undefined)
  }
})

test('the first document that knows the host wins', () => {
  const one = {
    path: '1',
    kind: 'docker' as const,
    text: JSON.stringify({ auths: { a: { username: 'u', password: '1' } } }),
  }
  const two = {
    path: '2',
    kind: 'netrc' as const,
    text: 'machine a login v password 2 machine b login w password 3',
  }
  assert.is(findCredential([one, two], 'a', 'r')?.username, 'u')
  assert.is(findCredential([one, two], 'b', 'r')?.username, 'w')
})

test('http is for loopback and for hosts that the site lists', () => {
  assert.is(registryOrigin('docker.io'), 'https://registry-1.docker.io')
  assert.is(registryOrigin('127.0.0.1:5000'), 'http://127.0.0.1:5000')
  assert.is(registryOrigin('[::1]:5000'), 'http://[::1]:5000')
  assert.is(registryOrigin('localhost.evil.example'), 'https://localhost.evil.example')
  assert.is(registryOrigin('10.0.0.1:5000'), 'https://10.0.0.1:5000')
  assert.is(registryOrigin('10.0.0.1:5000', ['10.0.0.1:5000']), 'http://10.0.0.1:5000')
})

test('a realm may be another https host, but no address inside the site', () => {
  const allowed = (realm: string, registry = 'https://r.example:5000/v2/') =>
    isRealmAllowed(new URL(realm), new URL(registry))
  assert.ok(allowed('https://auth.example/token'))
  assert.ok(allowed('https://r.example:5000/token'))
  assert.not(allowed('http://auth.example/token'))
  for (const inside of [
    '127.0.0.1',
    '169.254.169.254',
    '10.1.2.3',
    '192.168.0.1',
    '172.20.0.1',
    '[::1]',
    '[fe80::1]',
  ]) {
    assert.not(allowed(`https://${inside}/token`), inside)
  }
  assert.ok(allowed('http://127.0.0.1:9/token', 'http://127.0.0.1:5000/v2/'))
  assert.ok(allowed('https://10.0.0.1:5000/token', 'https://10.0.0.1:5000/v2/'))
})

test('proxies follow the usual variables', () => {
  const env = { https_proxy: 'proxy:3128', NO_PROXY: '.inside.example, other:5000,10.0.0.0/8' }
  const proxy = (url: string) => proxyFor(new URL(url), env)
  assert.is(proxy('https://docker.io/'), 'http://proxy:3128')
  assert.is(proxy('https://a.inside.example/'), undefined)
  assert.is(proxy('https://inside.example/'), undefined)
  assert.is(proxy('https://notinside.example/'), 'http://proxy:3128')
  assert.is(proxy('https://other:5000/'), undefined)
  assert.is(proxy('https://other/'), 'http://proxy:3128')
  assert.is(proxy('https://10.9.8.7/'), undefined)
  assert.is(proxy('http://127.0.0.1:5000/'), undefined)
  assert.is(proxyFor(new URL('https://x/'), { https_proxy: 'http://p', no_proxy: '*' }), undefined)
})

test('Retry-After is seconds or a date; waits grow with jitter up to the cap', () => {
  assert.is(parseRetryAfter('7', 0), 7000)
  assert.is(parseRetryAfter('Thu, 01 Jan 1970 00:00:09 GMT', 4000), 5000)
  assert.is(parseRetryAfter('soon', 0), undefined)
  const policy = { ...RETRY, tries: 5, wait_ms_min: 100, wait_ms_max: 1000, retry_after_ms_max: 1 }
  assert.is(
    waitBefore(0, policy, () => 1),
    100,
  )
  assert.is(
    waitBefore(2, policy, () => 0.5),
    200,
  )
  assert.is(
    waitBefore(9, policy, () => 1),
    1000,
  )
})

test.run()
