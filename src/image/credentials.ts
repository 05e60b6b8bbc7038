// SPDX-License-Identifier: Apache-2.0
/**
 * Registry credentials: docker's config.json, podman's auth.json and enroot's netrc, as texts that the worker read
 * with the user's own rights. Parsed in the importer only; never logged, never in argv or the environment.
 */

export interface CredentialDocument {
  /** Where it was found, for messages. */
  path: string
  kind: 'docker' | 'netrc'
  text: string
}

export interface Credential {
  username: string
  password: string
  /** OAuth2 refresh token of `docker login` (ACR); used in place of the password. */
  identityToken?: string
  /** A bearer token that needs no exchange. */
  registryToken?: string
}

/** Docker Hub's keys in the wild are one registry (registries.md §1). */
const HUB_KEYS = ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'auth.docker.io']

/**
 * The credential for a repository: documents in order, first hit wins, nothing is merged. In a docker document the
 * longest matching namespace (`host/org/repo`, `host/org`, `host`) wins; hosts are compared exactly. `user` (enroot's
 * USER@) restricts the choice.
 */
export function findCredential(
  documents: readonly CredentialDocument[],
  host: string,
  repository: string,
  user?: string,
): Credential | undefined {
  const hosts = HUB_KEYS.includes(host) ? HUB_KEYS : [host]
  for (const document of documents) {
    const found =
      document.kind === 'docker'
        ? findInDocker(document.text, hosts, repository)
        : findInNetrc(document.text, hosts, user)
    if (found !== undefined && (user === undefined || found.username === user)) return found
  }
  return undefined
}

function findInDocker(text: string, hosts: string[], repository: string): Credential | undefined {
  const auths = readAuths(text)
  const byKey = new Map<string, Credential>()
  for (const [key, entry] of Object.entries(auths)) {
    const credential = readAuth(entry)
    if (credential !== undefined) byKey.set(normalizeKey(key), credential)
  }
  const parts = repository.split('/')
  for (let length = parts.length; length >= 0; length--) {
    for (const host of hosts) {
      const found = byKey.get([host, ...parts.slice(0, length)].join('/'))
      if (found !== undefined) return found
    }
  }
  return undefined
}

/** config.json has `auths`; the older ~/.dockercfg is that object itself. */
function readAuths(text: string): object {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return {}
  }
  if (!isObject(parsed)) return {}
  if (isObject(parsed.auths)) return parsed.auths
  return 'auths' in parsed || 'credsStore' in parsed || 'credHelpers' in parsed ? {} : parsed
}

/** docker writes https://index.docker.io/v1/ where podman writes docker.io. */
function normalizeKey(key: string): string {
  return key
    .replace(/^https?:\/\//i, '')
    .replace(/\/(v1|v2)?\/?$/, '')
    .toLowerCase()
}

function readAuth(entry: unknown): Credential | undefined {
  if (!isObject(entry)) return undefined
  const credential: Credential = { username: textOf(entry.username), password: textOf(entry.password) }
  const pair = Buffer.from(textOf(entry.auth), 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  if (colon > 0) {
    credential.username = pair.slice(0, colon)
    credential.password = pair.slice(colon + 1).replace(/\0+$/, '')
  }
  if (textOf(entry.identitytoken) !== '') credential.identityToken = textOf(entry.identitytoken)
  if (textOf(entry.registrytoken) !== '') credential.registryToken = textOf(entry.registrytoken)
  // Some helpers write the pseudo user <token> when the password is a refresh token.
  if (credential.username === '<token>') credential.identityToken = credential.password
  const usable = (credential.username !== '' || credential.identityToken) ?? credential.registryToken
  return usable ? credential : undefined
}

/** `machine H login U password P`; enroot looks a host up without its port too. Shell expansion is not supported. */
function findInNetrc(text: string, hosts: string[], user?: string): Credential | undefined {
  const words = netrcWords(text)
  const entries: { machine: string; username: string; password: string }[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at]
    const last = entries.at(-1)
    if (word === 'machine') entries.push({ machine: words[++at] ?? '', username: '', password: '' })
    else if (word === 'default') entries.push({ machine: '', username: '', password: '' })
    else if (word === 'login' && last !== undefined) last.username = words[++at] ?? ''
    else if (word === 'password' && last !== undefined) last.password = words[++at] ?? ''
  }
  const names = [...hosts, ...hosts.map((host) => host.replace(/:\d+$/, ''))]
  for (const name of names) {
    const found = entries.find(
      ({ machine, username }) => machine.toLowerCase() === name && (user === undefined || username === user),
    )
    if (found !== undefined && found.password !== '') {
      return { username: found.username, password: found.password }
    }
  }
  return undefined
}

function netrcWords(text: string): string[] {
  const words: string[] = []
  for (const line of text.split('\n')) {
    if (/^\s*#/.test(line)) continue
    for (const match of line.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+)/g)) {
      words.push(match[1]?.replace(/\\(.)/g, '$1') ?? match[2] ?? match[3] ?? '')
    }
  }
  return words
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
