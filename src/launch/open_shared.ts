// SPDX-License-Identifier: Apache-2.0
/** The shared store as the site wants it; a site that names no usable one has none. */
import { hostname } from 'node:os'
import { isAbsolute, normalize } from 'node:path'
import { native } from '../native.js'
import { BerthError } from '../report/errors.js'
import type { Site } from '../site/site.js'
import { shareFailure } from '../store/shared/failure.js'
import type { SharedOptions } from '../store/shared/shared.js'

/** Ten signs of life missed: a metadata server that fails over takes that long. */
const STALE_MS = 20_000

/** Undefined: none is wanted, or what is said of it makes no sense, which the log then tells. */
export async function sharedOptions(
  site: Site,
  importerUid: number,
  log: (line: string) => void,
): Promise<SharedOptions | undefined> {
  const directory = site.get('shared_store')
  if (directory === '') return undefined
  const account = await accountOf(site, importerUid)
  if (account instanceof BerthError) {
    log(`site: ${account.message}`)
    return undefined
  }
  return {
    ...{
      directory: normalize(directory),
      ...account,
      node: hostname().split('.')[0] ?? '',
      stale_ms: STALE_MS,
    },
    ...{ use: site.get('shared_use'), copySize: site.get('shared_copy_size') },
  }
}

/** What `berth check` and `berth doctor` say of it. */
export async function sharedFailure(site: Site): Promise<BerthError | undefined> {
  const directory = site.get('shared_store')
  if (directory === '') return undefined
  const account = await accountOf(site)
  if (account instanceof BerthError) return account
  const failure = await shareFailure(directory, account.uid)
  return failure === undefined ? undefined : new BerthError('BERTH_ESHARED', { directory, ...failure })
}

async function accountOf(
  site: Site,
  importerUid?: number,
): Promise<{ uid: number; gid: number } | BerthError> {
  const directory = site.get('shared_store')
  const refuse = (problem: string, fix: string) =>
    new BerthError('BERTH_ESHARED', { directory, problem, fix: `${site.origin('shared_store')}: ${fix}` })
  if (!isAbsolute(directory)) return refuse('is no absolute path', 'write shared_store=/DIRECTORY')
  const name = site.get('shared_store_user')
  if (name === '') return { uid: 0, gid: 0 }
  const user = await native.userByName(name)
  if (user === undefined) return refuse(`there is no account ${name}`, 'name another shared_store_user')
  // What the importer parses comes from strangers; it must not be able to write what all nodes mount.
  if (user.uid === importerUid)
    return refuse(`${name} is the importer's account`, 'give the directory an account of its own')
  return { uid: user.uid, gid: user.gid }
}
