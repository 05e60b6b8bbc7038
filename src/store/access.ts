// SPDX-License-Identifier: Apache-2.0
/** On whose behalf the store acts: user files are opened with that user's rights, never with root's. */
import { constants, fstatSync, read } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { promisify } from 'node:util'
import type { CredentialDocument } from '../image/credentials.js'
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
}

const readAt = promisify(read)

/** A pipe or terminal in place of the file must not hold the worker up or become its terminal. */
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY
/** All documents travel in one frame of 1 MiB, JSON-escaped. */
const DOCUMENTS_BYTES_MAX = 256 << 10

/** @throws BerthError BERTH_EIMAGEFILE unless it is a regular file that this user may read. */
export async function openUserFile(native: Native, access: Access, path: string): Promise<number> {
  const fd = await openAs(native, access, path).catch((error: NativeError) => {
    throw new BerthError('BERTH_EIMAGEFILE', { path, problem: describe(error.code) }, { cause: error })
  })
  const stat = fstatSync(fd)
  if (stat.isFile()) return fd
  native.closeFd(fd)
  const problem = stat.isDirectory() ? 'is a directory' : 'is not a regular file'
  throw new BerthError('BERTH_EIMAGEFILE', { path, problem })
}

/** Where podman, docker and enroot keep logins, in the order of registries.md §3; unreadable ones are left out. */
export async function readCredentials(native: Native, access: Access): Promise<CredentialDocument[]> {
  const places = await credentialPlaces(native, access)
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

async function credentialPlaces(native: Native, access: Access): Promise<Omit<CredentialDocument, 'text'>[]> {
  const env = access.env ?? {}
  const home = env.HOME || (await native.userByUid(access.uid))?.home || ''
  const below = (folder: string | undefined, name: string) =>
    folder === undefined || !isAbsolute(folder) ? [] : [join(folder, name)]
  const docker = [
    ...(env.REGISTRY_AUTH_FILE === undefined ? [] : [env.REGISTRY_AUTH_FILE]),
    ...below(env.XDG_RUNTIME_DIR, 'containers/auth.json'),
    `/run/containers/${access.uid}/auth.json`,
    ...below(env.XDG_CONFIG_HOME ?? join(home, '.config'), 'containers/auth.json'),
    ...below(env.DOCKER_CONFIG, 'config.json'),
    ...below(home, '.docker/config.json'),
    ...below(home, '.dockercfg'),
  ]
  const enroot = [
    ...below(env.ENROOT_CONFIG_PATH, '.credentials'),
    ...below(env.XDG_CONFIG_HOME ?? join(home, '.config'), 'enroot/.credentials'),
  ]
  return [
    ...docker.map((path) => ({ path, kind: 'docker' as const })),
    ...enroot.map((path) => ({ path, kind: 'netrc' as const })),
  ]
}

/** A small regular file's text; undefined where there is none or this user may not read it. */
export async function readText(native: Native, access: Access, path: string): Promise<string | undefined> {
  const fd = await openAs(native, access, path).catch(() => undefined)
  if (fd === undefined) return undefined
  try {
    const { size } = fstatSync(fd)
    if (!fstatSync(fd).isFile() || size === 0 || size > DOCUMENTS_BYTES_MAX) return undefined
    const { buffer, bytesRead } = await readAt(fd, Buffer.alloc(size), 0, size, 0)
    return buffer.toString('utf8', 0, bytesRead)
  } catch {
    return undefined
  } finally {
    native.closeFd(fd)
  }
}

function openAs(native: Native, access: Access, path: string): Promise<number> {
  const { uid, gid, gids, cwd, mountNs } = access
  return native.openAs({
    path,
    cwd,
    uid,
    gid,
    gids,
    flags: OPEN_FLAGS,
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
  }
  return words[code] ?? `cannot be opened (${code})`
}
