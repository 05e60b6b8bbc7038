// SPDX-License-Identifier: Apache-2.0
/**
 * Registry credentials: docker's config.json, podman's auth.json and enroot's netrc, as texts that the worker read
 * with the user's own rights. Parsed in the importer and in the user's own process only; never logged, never in argv or
 * the environment.
 */
import { namesOf } from './credential_places.js'
import { type Credential, readAnswer } from './login_answer.js'
import { isObject, textOf } from './manifest.js'
import { entriesFor, NEEDS_EXPANSION } from './netrc.js'

export interface CredentialDocument {
  /** Where it was found, for messages. */
  path: string
  /** answer: what the user's own process found (login.ts), as JSON. */
  kind: 'docker' | 'netrc' | 'answer'
  text: string
}

export type { Credential }

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
  const hosts = namesOf(host)
  const find = {
    docker: (text: string) => findInDocker(text, hosts, repository),
    netrc: (text: string) => findInNetrc(text, hosts, user),
    answer: (text: string) => findInAnswer(text, host, repository),
  }
  for (const document of documents) {
    const found = find[document.kind](document.text)
    if (found !== undefined && (user === undefined || found.username === user)) return found
  }
  return undefined
}

/** What was looked at, and what went wrong with the programs that it names. */
export function describeDocuments(documents: readonly CredentialDocument[]): string {
  const files = documents.filter(({ kind }) => kind !== 'answer').map(({ path }) => path)
  const problems = documents
    .filter(({ kind }) => kind === 'answer')
    .flatMap(({ text }) => readAnswer(text)?.problems ?? [])
  return [files.join(', '), ...problems].filter((text) => text !== '').join('; ')
}

export function findInDocker(
  text: string,
  hosts: readonly string[],
  repository: string,
): Credential | undefined {
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
export function normalizeKey(key: string): string {
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

function findInNetrc(text: string, hosts: readonly string[], user?: string): Credential | undefined {
  const found = entriesFor(text, hosts).find(({ login }) => user === undefined || login === user)
  if (found === undefined || NEEDS_EXPANSION.test(`${found.login} ${found.password}`)) return undefined
  return { username: found.login, password: found.password }
}

/** Of the registry that it was asked about only: a mirror has an answer of its own. */
function findInAnswer(text: string, host: string, repository: string): Credential | undefined {
  const answer = readAnswer(text)
  return answer?.host === host && answer.repository === repository ? answer.credential : undefined
}
