// SPDX-License-Identifier: Apache-2.0
/** One request to a registry over undici: our own redirects, trust store, proxies and timeouts. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import { Agent, type Dispatcher, ProxyAgent, request } from 'undici'
import { BerthError } from '../report/errors.js'
import { isLoopback, proxyFor } from './origin.js'
import {
  errorCode,
  isRetriedError,
  isRetriedStatus,
  isSilence,
  parseRetryAfter,
  RETRY,
  type RetryPolicy,
  waitBefore,
} from './retry.js'
import { EXTRA_CERTIFICATES } from './wire.js'

const CONNECT_MS_MAX = 30_000
const REDIRECTS_MAX = 10
/** As long as an idle importer lives: the next HEAD needs no new TLS. */
const KEEP_MS_MAX = 30_000
const CONNECTIONS_PER_HOST_MAX = 8

/** The system's trust store on Debian, Red Hat and SUSE; Node's own bundle knows no site CA. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
]
/** HOST[:PORT]/*.crt below these adds to the trust in that registry. */
const HOST_CERTIFICATES = ['/etc/berth/certs.d', '/etc/containers/certs.d', '/etc/docker/certs.d']

export interface Reply {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Dispatcher.ResponseData['body']
  /** Where it came from at last; another origin than asked for means an object store. */
  url: URL
}

interface RequestOptions {
  method?: 'GET' | 'HEAD' | 'POST'
  /** Kept while the origin stays; Authorization goes for good at the first hop to another one. */
  headers?: Record<string, string>
  body?: string
  signal?: AbortSignal | undefined
  /** Asked before each hop; false ends the request. */
  allowed?: (url: URL) => boolean
}

interface Asked {
  host: string
  /** Of HTTP; absent while it has said nothing. */
  status?: number
}

/** Whoever answers before that is not worth a word. */
const PATIENCE_S = 2

export class Fetcher {
  /**
   * Told each second of who lets a question wait: the host with its port, for how long, and what it has answered where that
   * was to come again later.
   */
  onWait: ((host: string, seconds: number, status?: number) => void) | undefined
  private readonly dispatchers = new Map<string, Dispatcher>()
  private system: string | undefined

  constructor(
    private readonly env: Readonly<Record<string, string | undefined>> = process.env,
    readonly policy: RetryPolicy = RETRY,
  ) {}

  /**
   * Asks until there is an answer that is not a passing trouble; a 4xx is an answer.
   * @throws BerthError BERTH_EREGISTRY, or what its signal ends it with
   */
  async ask(url: URL, options: RequestOptions = {}): Promise<Reply> {
    const asking: Asked = { host: url.host }
    const watch = this.watch(asking)
    try {
      return await this.askPatiently(url, options, asking)
    } finally {
      clearInterval(watch)
    }
  }

  private watch(asking: Asked): NodeJS.Timeout {
    let seconds = 0
    return setInterval(() => {
      seconds += 1
      if (seconds >= PATIENCE_S) this.onWait?.(asking.host, seconds, asking.status)
    }, 1000)
  }

  /** @param asking is told of who is asked at a time, and what it said last */
  private async askPatiently(url: URL, options: RequestOptions, asking: Asked): Promise<Reply> {
    for (let attempt = 0, silences = 0; ; attempt++) {
      const last = attempt + 1 >= this.policy.tries
      let wait = waitBefore(attempt, this.policy)
      try {
        const reply = await this.request(url, options, asking)
        if (!isRetriedStatus(reply.status)) return reply
        asking.status = reply.status
        await reply.body.dump()
        const asked = parseRetryAfter(String(reply.headers['retry-after'] ?? ''), Date.now()) ?? 0
        if (last || asked > this.policy.retry_after_ms_max)
          throw unreachable(url, describeRefusal(reply.status, asked))
        wait = Math.max(wait, asked)
      } catch (error) {
        options.signal?.throwIfAborted()
        if (error instanceof BerthError) throw error
        delete asking.status
        if (isSilence(error)) silences++
        if (last || silences >= this.policy.silences_max || !isRetriedError(error))
          throw unreachable(url, describeFailure(error), error)
      }
      await sleep(wait, undefined, { signal: options.signal })
    }
  }

  /** @throws BerthError BERTH_EREGISTRY for a redirect that must not be followed, undici's errors for the rest. */
  private async request(start: URL, options: RequestOptions, asking: Asked): Promise<Reply> {
    let url = start
    const headers: Record<string, string> = {
      'accept-encoding': 'identity',
      'user-agent': 'berth',
      ...options.headers,
    }
    for (let hop = 0; ; hop++) {
      asking.host = url.host
      const {
        statusCode,
        headers: answer,
        body,
      } = await request(url, {
        method: options.method ?? 'GET',
        headers,
        body: options.body ?? null,
        dispatcher: this.dispatcherFor(url),
        headersTimeout: this.policy.silence_ms_max,
        bodyTimeout: this.policy.silence_ms_max,
        signal: options.signal ?? null,
      })
      const location = answer.location
      if (![301, 302, 303, 307, 308].includes(statusCode) || typeof location !== 'string') {
        return { status: statusCode, headers: answer, body, url }
      }
      await body.dump()
      const next = followable(url, location, hop)
      if (options.allowed?.(next) === false)
        throw unreachable(start, `redirects to ${next.host}, which is not allowed`)
      if (next.origin !== url.origin) delete headers.authorization
      url = next
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.dispatchers.values()].map((dispatcher) => dispatcher.destroy()))
    this.dispatchers.clear()
  }

  private dispatcherFor(url: URL): Dispatcher {
    const known = this.dispatchers.get(url.origin)
    if (known !== undefined) return known
    const proxy = proxyFor(url, this.env)
    const limits = { connections: CONNECTIONS_PER_HOST_MAX, pipelining: 1, keepAliveTimeout: KEEP_MS_MAX }
    const tls = url.protocol === 'https:' ? { secureContext: this.trust(url.host) } : {}
    const made =
      proxy === undefined
        ? new Agent({ ...limits, connect: { timeout: CONNECT_MS_MAX, ...tls } })
        : new ProxyAgent({ ...limits, uri: proxy, requestTls: { timeout: CONNECT_MS_MAX, ...tls } })
    this.dispatchers.set(url.origin, made)
    return made
  }

  private trust(host: string): SecureContext {
    this.system ??= readSystemTrust(this.env)
    const own = HOST_CERTIFICATES.map((folder) => join(folder, host)).filter((folder) => existsSync(folder))
    const files = own.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)))
    const extra = files.filter((file) => file.endsWith('.crt')).map((file) => readFileSync(file, 'utf8'))
    const client = files.find((file) => file.endsWith('.cert'))
    const pair =
      client === undefined
        ? {}
        : { cert: readFileSync(client), key: readFileSync(client.replace(/\.cert$/, '.key')) }
    return createSecureContext({ ca: [this.system, ...extra], ...pair })
  }
}

function readSystemTrust(env: Readonly<Record<string, string | undefined>>): string {
  const bundle = env.SSL_CERT_FILE ?? SYSTEM_BUNDLES.find((file) => existsSync(file))
  const system = bundle === undefined ? rootCertificates.join('\n') : readFileSync(bundle, 'utf8')
  const extra = env[EXTRA_CERTIFICATES]
  return extra === undefined ? system : `${system}\n${readFileSync(extra, 'utf8')}`
}

function followable(from: URL, location: string, hop: number): URL {
  if (hop >= REDIRECTS_MAX) throw unreachable(from, `redirects more than ${REDIRECTS_MAX} times`)
  const next = URL.canParse(location, from) ? new URL(location, from) : undefined
  if (next === undefined || !['http:', 'https:'].includes(next.protocol)) {
    throw unreachable(from, 'redirects to something that is no web address')
  }
  if (next.protocol === 'http:' && from.protocol === 'https:') {
    throw unreachable(from, `redirects from https to http (${next.host}), which is not followed`)
  }
  if (next.protocol === 'http:' && next.host !== from.host && !isLoopback(next.hostname)) {
    throw unreachable(from, `redirects to ${next.host} without encryption, which is not followed`)
  }
  next.username = ''
  next.password = ''
  return next
}

export function unreachable(url: URL, problem: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_EREGISTRY', { host: url.host, problem }, { cause })
}

function describeRefusal(status: number, asked_ms: number): string {
  const wait = asked_ms > 0 ? `, and wants ${Math.ceil(asked_ms / 1000)} s of patience` : ''
  return status === 429
    ? `it limits the rate of requests (HTTP 429)${wait}; a login, a mirror of the site or a later hour may help`
    : `it answers HTTP ${status}${wait}`
}

/** A failure below HTTP in words; signed URLs and headers never appear in it. */
export function describeFailure(error: unknown): string {
  const code = errorCode(error) || errorCode((error as Error | undefined)?.cause)
  const words: Record<string, string> = {
    ENOTFOUND: 'there is no such host',
    EAI_AGAIN: 'its name cannot be resolved now',
    ECONNREFUSED: 'it refuses connections',
    ECONNRESET: 'it broke the connection',
    EHOSTUNREACH: 'there is no route to it',
    ENETUNREACH: 'there is no route to it',
    UND_ERR_SOCKET: 'it broke the connection',
    UND_ERR_CONNECT_TIMEOUT: `it does not answer within ${CONNECT_MS_MAX / 1000} s`,
    UND_ERR_HEADERS_TIMEOUT: `it said nothing for ${RETRY.silence_ms_max / 1000} s`,
    UND_ERR_BODY_TIMEOUT: `it said nothing for ${RETRY.silence_ms_max / 1000} s`,
    DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed; put the CA below /etc/containers/certs.d',
    SELF_SIGNED_CERT_IN_CHAIN:
      'its certificate is from an unknown CA; put the CA below /etc/containers/certs.d',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      'its certificate is from an unknown CA; put the CA below /etc/containers/certs.d',
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
      'its certificate is from an unknown CA; put the CA below /etc/containers/certs.d',
    CERT_HAS_EXPIRED: 'its certificate has expired',
    ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host',
    EPROTO: 'it does not speak TLS',
  }
  return words[code] ?? (code === '' ? 'the connection failed' : `the connection failed (${code})`)
}
