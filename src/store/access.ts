// SPDX-License-Identifier: Apache-2.0
/** On whose behalf the store acts: user files are opened with that user's rights, never with root's. */
import { constants, fstat, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { credentialPlaces } from '../image/credential_places.js'
import type { CredentialDocument } from '../image/credentials.js'
import type { RegistrySource } from '../image/image.js'
import type { LoginQuestion } from '../image/login_answer.js'
import { NEEDS_EXPANSION } from '../image/netrc.js'
import type { Native, NativeError } from '../native.js'
import { BerthError } from '../report/errors.js'

export interface Access {
  uid: number
  gid: number
  gids: number[]
  /** Relative paths of the reference start here. */
  cwd: string
  /** The job's mount namespace, where it is not the worker's; borrowed. */
  mountNs?: number
  /** The job's environment, for the places of credentials; only names of files are taken from it. */
  env?: Readonly<Record<string, string | undefined>>
  /** Asks a process of the user's; absent where none waits for the answer (the prolog). */
  login?: AskLogin
}

/** A LoginAnswer as it came, undefined when none did. It is for the importer to read. */
export type AskLogin = (question: LoginQuestion) => Promise<string | undefined>

const status = promisify(fstat)

/** A pipe or terminal in place of the file must not hold the worker up or become its terminal. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY
/** All documents travel in one frame of 1 MiB, JSON-escaped. */
const DOCUMENTS_BYTES_MAX = 256 << 10

/** @throws BerthError BERTH_EIMAGEFILE unless it is a regular file that this user may read. */
export async function openUserFile(native: Native, access: Access, path: string): Promise<number> {
  const fd = await openAs(native, access, path).catch((error: NativeError) => {
    const next =
      'the path counts from the working directory of the step, and your rights on the compute node count'
    throw new BerthError('BERTH_EIMAGEFILE', { path, problem: describe(error.code), next }, { cause: error })
  })
  const stat = await status(fd)
  if (stat.isFile()) return fd
  native.closeFd(fd)
  const [problem, next] = stat.isDirectory()
    ? ['is a directory', `dir:${path} is an unpacked root file system, oci:${path} an OCI layout`]
    : ['is not a regular file', 'name a squashfs file or a SIF']
  throw new BerthError('BERTH_EIMAGEFILE', { path, problem, next })
}

/**
 * What podman, docker and enroot have kept; unreadable files are left out. Before them comes what the user's own process
 * says of the registry, and of those of its mirrors that the files mention, where they name programs and there is such
 * a process.
 */
export async function readCredentials(
  native: Native,
  access: Access,
  registry: RegistrySource,
  mirrors: readonly RegistrySource[] = [],
): Promise<CredentialDocument[]> {
  const documents = await readDocuments(native, access)
  const programs = documents.filter(needsUser)
  if (access.login === undefined || programs.length === 0) return documents
  const asked = [registry, ...mirrors.filter(({ host }) => programs.some((file) => mentions(file, host)))]
  const answers: CredentialDocument[] = []
  for (const { host, repository, user } of asked) {
    const text = await access.login({ host, repository, user })
    if (text !== undefined) answers.push({ path: '', kind: 'answer', text })
  }
  return [...answers, ...documents]
}

/** A store of docker's may have a login for any host; enroot leaves the port out. */
function mentions({ kind, text }: CredentialDocument, host: string): boolean {
  if (kind === 'docker' && text.includes('"credsStore"')) return true
  return text.toLowerCase().includes(kind === 'docker' ? host : host.replace(/:\d+$/, ''))
}

async function readDocuments(native: Native, access: Access): Promise<CredentialDocument[]> {
  const { uid, env = {} } = access
  const account = env.HOME ? undefined : (await native.userByUid(uid))?.home
  const places = credentialPlaces(env, uid, account)
  const texts = await Promise.all(places.map(({ path }) => readText(native, access, path)))
  const documents: CredentialDocument[] = []
  let left = DOCUMENTS_BYTES_MAX
  places.forEach((place, index) => {
    const text = texts[index]
    if (text === undefined || text.length > left) return
    left -= text.length
    documents.push({ ...place, text })
  })
  return documents
}

/**
 * Credential helpers and commands to expand: a look at the text that decides nothing but whether the user's own process
 * is asked.
 */
function needsUser({ kind, text }: CredentialDocument): boolean {
  return kind === 'docker' ? /"cred(Helpers|sStore)"/.test(text) : NEEDS_EXPANSION.test(text)
}

/** A small regular file's text; undefined where there is none or this user may not read it. */
export async function readText(native: Native, access: Access, path: string): Promise<string | undefined> {
  // The child that opens it reads it too: a dead file server costs a process and no thread of the worker's.
  const fd = await openAs(native, access, path, DOCUMENTS_BYTES_MAX).catch(() => undefined)
  if (fd === undefined) return undefined
  try {
    return readFileSync(`/proc/self/fd/${fd}`, 'utf8') || undefined
  } finally {
    native.closeFd(fd)
  }
}

function openAs(native: Native, access: Access, path: string, copyMax = 0): Promise<number> {
  const { uid, gid, gids, cwd, mountNs } = access
  return native.openAs({
    path,
    cwd,
    uid,
    gid,
    gids,
    flags: OPEN_FLAGS,
    copyMax,
    ...(mountNs === undefined ? {} : { mountNs }),
  })
}

function describe(code: string): string {
  const words: Record<string, string> = {
    ENOENT: 'there is no such file',
    ENOTDIR: 'there is no such file',
    EACCES: 'you may not read it',
    EPERM: 'you may not read it',
    ELOOP: 'its links form a circle',
    EREMOTE: "is on a user's FUSE file system; copy it to another one",
  }
  return words[code] ?? `cannot be opened (${code})`
}
