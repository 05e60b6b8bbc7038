// SPDX-License-Identifier: Apache-2.0
/** Answers a registry's challenges: Basic, anonymous and authenticated bearer tokens. */
import { BerthError } from '../report/errors.js'
import { readBounded } from './body.js'
import { type Challenge, parseChallenges, pickChallenge } from './challenge.js'
import type { Credential } from './credentials.js'
import type { Fetcher, Reply } from './fetch.js'
import { isRealmAllowed } from './origin.js'

const TOKEN_BYTES_MAX = 1 << 20
/** Of the token specification: what is missing or shorter counts as a minute. */
const TOKEN_MS_MIN = 60_000
/** A token that ends while the request travels is of no use. */
const TOKEN_MS_SPARE = 5_000

export class Authorizer {
  private current: { header: string; ends: number } | undefined
  private readonly scopes: string[]
  private refreshToken: string | undefined

  constructor(
    private readonly fetcher: Fetcher,
    private readonly registry: URL,
    repository: string,
    private readonly credential: Credential | undefined,
  ) {
    this.scopes = [`repository:${repository}:pull`]
    this.refreshToken = credential?.identityToken
    if (credential?.registryToken !== undefined) {
      this.current = { header: `Bearer ${credential.registryToken}`, ends: Number.POSITIVE_INFINITY }
    }
  }

  /** Whether what was pulled so far is open to everybody. */
  get anonymous(): boolean {
    return this.credential === undefined
  }

  header(): string | undefined {
    if (this.current !== undefined && this.current.ends < Date.now()) this.current = undefined
    return this.current?.header
  }

  /** Makes a new header for a 401's challenges; false: there is nothing (better) to offer. */
  async answer(challenges: readonly string[], signal?: AbortSignal): Promise<boolean> {
    const challenge = pickChallenge(parseChallenges(challenges))
    this.current = undefined
    if (challenge === undefined) return false
    if (challenge.scheme === 'basic') {
      const header = this.basic()
      if (header === undefined) return false
      this.current = { header, ends: Number.POSITIVE_INFINITY }
      return true
    }
    this.current = await this.fetchToken(challenge, signal)
    return this.current !== undefined
  }

  /** A 403 that names a missing scope (RFC 6750 §3.1) is answered once with that scope first. */
  async widen(challenges: readonly string[], signal?: AbortSignal): Promise<boolean> {
    const challenge = pickChallenge(parseChallenges(challenges))
    const scope = challenge?.params.get('scope')
    if (challenge === undefined || challenge.params.get('error') !== 'insufficient_scope' || !scope)
      return false
    if (this.scopes.includes(scope)) return false
    this.scopes.unshift(scope)
    this.current = await this.fetchToken(challenge, signal)
    return this.current !== undefined
  }

  private basic(): string | undefined {
    if (this.credential === undefined || this.credential.username === '') return undefined
    const { username, password } = this.credential
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  }

  private async fetchToken(challenge: Challenge, signal?: AbortSignal) {
    const text = challenge.params.get('realm') ?? ''
    const realm = URL.canParse(text, this.registry) ? new URL(text, this.registry) : undefined
    const allowed = (url: URL) => isRealmAllowed(url, this.registry)
    if (realm === undefined || !allowed(realm)) {
      throw new BerthError('BERTH_EREGISTRY', {
        host: this.registry.host,
        problem: 'it sends logins to a place that credentials must not go to',
      })
    }
    const service = challenge.params.get('service')
    const reply =
      (await this.exchangeRefreshToken(realm, service, allowed, signal)) ??
      (await this.getToken(realm, service, allowed, signal))
    if (reply.status !== 200) {
      await reply.body.dump()
      if ([400, 401, 403, 404].includes(reply.status)) return undefined
      throw this.badToken(`its token server answers HTTP ${reply.status}`)
    }
    return this.takeToken(reply)
  }

  private getToken(
    realm: URL,
    service: string | undefined,
    allowed: (url: URL) => boolean,
    signal?: AbortSignal,
  ) {
    const url = new URL(realm)
    if (service !== undefined) url.searchParams.set('service', service)
    // Repeated, not joined: some servers look at the first scope only.
    for (const scope of this.scopes) url.searchParams.append('scope', scope)
    const basic = this.basic()
    return this.fetcher.ask(url, {
      headers: basic === undefined ? {} : { authorization: basic },
      allowed,
      signal,
    })
  }

  private async exchangeRefreshToken(
    realm: URL,
    service: string | undefined,
    allowed: (url: URL) => boolean,
    signal?: AbortSignal,
  ): Promise<Reply | undefined> {
    if (this.refreshToken === undefined) return undefined
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: this.refreshToken,
      client_id: 'berth',
      scope: this.scopes.join(' '),
      ...(service === undefined ? {} : { service }),
    })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    // A redirect could carry the form to another host: none is followed here.
    const options = { method: 'POST' as const, headers, body: form.toString(), signal }
    const sameOrigin = (url: URL) => url.origin === realm.origin && allowed(url)
    const reply = await this.fetcher.ask(realm, { ...options, allowed: sameOrigin })
    if (reply.status !== 404 && reply.status !== 405) return reply
    await reply.body.dump()
    return undefined
  }

  private async takeToken(reply: Reply) {
    let answer: unknown
    try {
      answer = JSON.parse((await readBounded(reply.body, TOKEN_BYTES_MAX)).toString('utf8'))
    } catch (error) {
      throw this.badToken('its token server sends no JSON', error)
    }
    if (typeof answer !== 'object' || answer === null) throw this.badToken('its token server sends no token')
    const { token, access_token, refresh_token, expires_in } = answer as Record<string, unknown>
    const bearer = typeof token === 'string' && token !== '' ? token : access_token
    if (typeof bearer !== 'string' || !/^[\x21-\x7e]+$/.test(bearer)) {
      throw this.badToken('its token server sends no token')
    }
    if (typeof refresh_token === 'string') this.refreshToken = refresh_token
    const life_ms = Math.max(TOKEN_MS_MIN, typeof expires_in === 'number' ? expires_in * 1000 : 0)
    return { header: `Bearer ${bearer}`, ends: Date.now() + life_ms - TOKEN_MS_SPARE }
  }

  private badToken(problem: string, cause?: unknown): BerthError {
    return new BerthError('BERTH_EREGISTRY', { host: this.registry.host, problem }, { cause })
  }
}
