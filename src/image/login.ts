// SPDX-License-Identifier: Apache-2.0
/**
 * The user's own side of credentials: what docker's helpers and the commands in enroot's .credentials say. It runs in a
 * process of the user's, with the user's environment, limits and cgroup; root never does this (docs/decisions/0025-logins-of-users.md).
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { CommandError, type Environment, splitCommand } from './command_line.js'
import { credentialPlaces, namesOf } from './credential_places.js'
import { findInDocker, normalizeKey } from './credentials.js'
import type { Credential, LoginAnswer, LoginQuestion } from './login_answer.js'
import { isObject } from './manifest.js'
import { endOfCommand, entriesFor } from './netrc.js'
import { type Ran, runPipeline } from './own_program.js'

const FILE_BYTES_MAX = 256 << 10
const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants
/** A program's name and nothing else: it is looked up in PATH (docker's credential-helpers). */
const HELPER = /^[A-Za-z0-9._-]+$/
/** docker's word for a login that is a refresh token. */
const TOKEN_USER = '<token>'
/** Under which docker itself asks a helper for Docker Hub. */
const HUB_SERVER = 'https://index.docker.io/v1/'
const NOT_FOUND = /credentials not found/i
const COMPLAINT_CHARS_MAX = 200

export interface Me {
  env: Environment
  uid: number
  /** Home of the account, where HOME is not set. */
  home: string | undefined
}

/** What this very process finds, as JSON. */
export async function answerLogin(question: LoginQuestion): Promise<string> {
  const me = { env: process.env, uid: process.getuid?.() ?? 0, home: homeOfAccount() }
  return JSON.stringify(await findLogin(question, me))
}

/** The first login that one of the user's files leads to, in their order. */
export async function findLogin(question: LoginQuestion, me: Me): Promise<LoginAnswer> {
  const problems: string[] = []
  for (const { path, kind } of credentialPlaces(me.env, me.uid, me.home)) {
    const text = readSmall(path)
    if (text === undefined) continue
    const found =
      kind === 'docker'
        ? await askDocker(text, question, me, problems)
        : await askNetrc(text, path, question, me, problems)
    if (found !== undefined && (question.user === undefined || found.username === question.user))
      return { ...question, credential: found, problems }
  }
  return { ...question, problems }
}

/** credHelpers, then credsStore, then what the file itself holds. */
async function askDocker(
  text: string,
  { host, repository }: LoginQuestion,
  { env }: Me,
  problems: string[],
): Promise<Credential | undefined> {
  const hosts = namesOf(host)
  for (const name of helpersOf(text, hosts)) {
    const servers = hosts.length > 1 ? [HUB_SERVER, 'docker.io'] : [host]
    for (const server of servers) {
      const found = await askHelper(name, server, env)
      if (typeof found === 'object') return found
      if (found === '') continue
      problems.push(`docker-credential-${name}: ${found}`)
      break
    }
  }
  return findInDocker(text, hosts, repository)
}

function helpersOf(text: string, hosts: readonly string[]): string[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return []
  }
  if (!isObject(parsed)) return []
  const { credHelpers, credsStore } = parsed
  const own = isObject(credHelpers)
    ? Object.entries(credHelpers).find(([key]) => hosts.includes(normalizeKey(key)))?.[1]
    : undefined
  return [own, credsStore].filter((name): name is string => typeof name === 'string' && name !== '')
}

/** The login, '' when the helper has none, or what is wrong. */
async function askHelper(name: string, server: string, env: Environment): Promise<Credential | string> {
  if (!HELPER.test(name)) return 'is no name of a helper'
  const program = { argv: [`docker-credential-${name}`, 'get'], env: {} }
  const ran = await runPipeline([program], { ...env }, `${server}\n`)
  if (ran.problem !== '') {
    // The protocol puts the helper's error on stdout.
    if (NOT_FOUND.test(`${ran.stdout} ${ran.complaint}`)) return ''
    const said = ran.stdout.trimStart().startsWith('{') ? '' : (ran.stdout.trim().split('\n')[0] ?? '')
    return describe({ ...ran, complaint: said || ran.complaint })
  }
  const answer = parseHelper(ran.stdout)
  return answer ?? 'printed no login'
}

function parseHelper(text: string): Credential | undefined {
  try {
    const answer: unknown = JSON.parse(text)
    if (!isObject(answer)) return undefined
    const { Username: username, Secret: password } = answer
    if (typeof username !== 'string' || typeof password !== 'string' || password === '') return undefined
    return { username, password, ...(username === TOKEN_USER ? { identityToken: password } : {}) }
  } catch {
    return undefined
  }
}

async function askNetrc(
  text: string,
  path: string,
  { host, user }: LoginQuestion,
  { env }: Me,
  problems: string[],
): Promise<Credential | undefined> {
  for (const { machine, login, password } of entriesFor(text, namesOf(host))) {
    try {
      const username = await expand(login, env)
      if (user !== undefined && username !== user) continue
      return { username, password: await expand(password, env) }
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      problems.push(`${path}, machine ${machine}: ${error.message}`)
    }
  }
  return undefined
}

/**
 * $(command), ${NAME} and $NAME; a name that is not set stays as it is, so that NGC's user `$oauthtoken` needs no
 * quotes. @throws CommandError
 */
export async function expand(text: string, env: Environment): Promise<string> {
  let out = ''
  for (let at = 0; at < text.length; ) {
    const end = text.startsWith('$(', at) ? endOfCommand(text, at) : undefined
    if (end !== undefined) {
      out += await output(text.slice(at + 2, end - 1), env)
      at = end
      continue
    }
    const [whole, braced, plain] = /^\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))/.exec(text.slice(at)) ?? []
    const value = env[braced ?? plain ?? '']
    if (braced !== undefined && value === undefined) throw new CommandError(`\${${braced}} is not set`)
    out += whole === undefined ? text[at] : (value ?? whole)
    at += whole?.length ?? 1
  }
  return out
}

async function output(command: string, env: Environment): Promise<string> {
  const stages = splitCommand(command, env)
  const name = stages.map(({ argv }) => argv[0]).join(' | ')
  const ran = await runPipeline(stages, { ...env })
  if (ran.problem !== '') throw new CommandError(`${name} ${describe(ran)}`)
  const text = ran.stdout.replace(/[\r\n]+$/, '')
  if (text === '') throw new CommandError(`${name} printed nothing`)
  return text
}

/** What a program says of itself on stderr is the user's to see; its stdout may be half a secret. */
function describe({ problem, complaint }: Ran): string {
  return complaint === '' ? problem : `${problem}: ${complaint.slice(0, COMPLAINT_CHARS_MAX)}`
}

/** Undefined where nobody knows the account (a node without the user database). */
function homeOfAccount(): string | undefined {
  try {
    return userInfo().homedir
  } catch {
    return undefined
  }
}

function readSmall(path: string): string | undefined {
  try {
    const fd = openSync(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)
    try {
      const stat = fstatSync(fd)
      // Root with another's HOME (sudo -E) would run what that account wrote.
      const isOwn = stat.uid === process.getuid?.() || stat.uid === 0
      return isOwn && stat.isFile() && stat.size <= FILE_BYTES_MAX ? readFileSync(fd, 'utf8') : undefined
    } finally {
      closeSync(fd)
    }
  } catch {
    return undefined
  }
}
