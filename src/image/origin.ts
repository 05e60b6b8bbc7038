// SPDX-License-Identifier: Apache-2.0
/** Which origins may be spoken to, and how: http only on loopback, proxies, realms that may see a password; pure. */
import { isIP } from 'node:net'

const HUB_API = 'registry-1.docker.io'

/** docker.io is the name, registry-1.docker.io the machine; http only without a wire, or where the site says so. */
export function registryOrigin(host: string, insecure: readonly string[] = []): string {
  const machine = host === 'docker.io' ? HUB_API : host
  const name = new URL(`https://${machine}`).hostname
  return `${isLoopback(name) || insecure.includes(host) ? 'http' : 'https'}://${machine}`
}

export function isLoopback(hostname: string): boolean {
  const name = hostname.replace(/^\[|\]$/g, '')
  if (name === 'localhost' || name === '::1') return true
  return isIP(name) === 4 && name.startsWith('127.')
}

/**
 * A challenge's realm is chosen by whoever answers: credentials go there only by https (http if the registry is
 * http), and never to an address literal inside the site unless that is the registry itself.
 */
export function isRealmAllowed(realm: URL, registry: URL): boolean {
  if (realm.host === registry.host && realm.protocol === registry.protocol) return true
  if (realm.protocol !== 'https:' && !(realm.protocol === 'http:' && registry.protocol === 'http:'))
    return false
  if (realm.protocol === 'http:') return isLoopback(realm.hostname)
  return !isInsideAddress(realm.hostname)
}

function isInsideAddress(hostname: string): boolean {
  const name = hostname.replace(/^\[|\]$/g, '')
  if (isLoopback(name)) return true
  if (isIP(name) === 4) {
    const [a = 0, b = 0] = name.split('.').map(Number)
    return (
      a === 10 ||
      a === 0 ||
      (a === 172 && b >= 16 && b < 32) ||
      (a === 192 && b === 168) ||
      (a === 169 && b === 254)
    )
  }
  return isIP(name) === 6 && /^(fe[89ab]|f[cd]|::$|::ffff:)/i.test(name)
}

/** The proxy for a URL by the usual variables, lower case first; undefined: direct. Loopback is always direct. */
export function proxyFor(url: URL, env: Readonly<Record<string, string | undefined>>): string | undefined {
  const scheme = url.protocol.slice(0, -1)
  const proxy =
    env[`${scheme}_proxy`] || env[`${scheme.toUpperCase()}_PROXY`] || env.all_proxy || env.ALL_PROXY
  if (!proxy || isLoopback(url.hostname)) return undefined
  const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
  const rules = (env.no_proxy ?? env.NO_PROXY ?? '').split(/[\s,]+/).filter((rule) => rule !== '')
  if (rules.some((rule) => matchesNoProxy(rule.toLowerCase(), url.hostname.toLowerCase(), port)))
    return undefined
  return proxy.includes('://') ? proxy : `http://${proxy}`
}

function matchesNoProxy(rule: string, hostname: string, port: number): boolean {
  if (rule === '*') return true
  const block = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(rule)
  if (block !== null) return isIP(hostname) === 4 && inBlock(hostname, block[1] ?? '', Number(block[2]))
  const parts = /^\*?\.?(.*?)(?::(\d+))?$/.exec(rule)
  if (parts === null || (parts[2] !== undefined && Number(parts[2]) !== port)) return false
  const name = parts[1] ?? ''
  return hostname === name || (isIP(hostname) === 0 && hostname.endsWith(`.${name}`))
}

function inBlock(address: string, base: string, bits: number): boolean {
  const word = (text: string) => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
  const unit = 2 ** (32 - Math.min(32, bits))
  return Math.floor(word(address) / unit) === Math.floor(word(base) / unit)
}
