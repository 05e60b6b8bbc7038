// SPDX-License-Identifier: Apache-2.0
/** The store as the site wants it: accounts by number, shares of a file system in bytes. */
import { accessSync, constants, mkdirSync, statfsSync } from 'node:fs'
import { badMirror } from '../image/mirror_rules.js'
import { native } from '../native.js'
import { BerthError, messageOf } from '../report/errors.js'
import type { Site } from '../site/site.js'
import type { Space } from '../site/values.js'
import { Store, type StoreOptions } from '../store/store.js'
import { sharedOptions } from './open_shared.js'
import { registryProxy } from './registry_proxy.js'
import { sifSignatures } from './sif_signatures.js'
import { lockStore } from './store_lock.js'

/** The account that sites are advised to make, then the one that every system has. */
const IMPORTER_ACCOUNTS = ['berth', 'nobody']
const STORE_MODE = 0o700

/**
 * @param distDir where importer.js and node lie
 * @throws BerthError BERTH_ESITE when no account is there for the importer, the directory cannot be used, or
 * another worker uses it
 */
export async function openStore(
  site: Site,
  distDir: string,
  log: (line: string) => void = () => undefined,
): Promise<Store> {
  const directory = site.get('store')
  try {
    mkdirSync(directory, { recursive: true, mode: STORE_MODE })
    // mkdir says ENOENT below a directory that may only be read.
    accessSync(directory, constants.W_OK)
  } catch (error) {
    throw siteError(site, 'store', `cannot be used: ${messageOf(error)}`)
  }
  const importerUser = await findImporter(site)
  const holder = await lockStore(directory, log).catch((error: unknown) => {
    throw siteError(site, 'store', `cannot be used: ${messageOf(error)}`)
  })
  if (holder !== undefined) {
    const next = 'give each runtime_dir a store of its own'
    throw siteError(site, 'store', `the worker with pid ${holder} uses ${directory}: ${next}`)
  }
  const shared = await sharedOptions(site, importerUser.uid, log)
  const options: StoreOptions = {
    directory,
    importerUser,
    compressor: site.get('compressor'),
    level: site.get('level'),
    blockSize: site.get('block_size'),
    threads: site.get('threads'),
    bytesMax: site.get('image_bytes_max'),
    entriesMax: site.get('image_entries_max'),
    owners: site.get('image_owners'),
    quotaBytes: bytesOf(site.get('store_quota'), directory),
    freeFloorBytes: bytesOf(site.get('store_free_floor'), directory),
    tagTtlSeconds: site.get('tag_ttl'),
    insecure: site.get('registries_insecure'),
    mirrors: mirrorRules(site),
    proxy: registryProxy(site),
    ...(shared === undefined ? {} : { shared }),
    reuse: site.get('reuse'),
    signatures: sifSignatures(site),
    log,
    distDir,
    native,
  }
  return Store.open(options).catch((error: unknown) => {
    if (error instanceof BerthError) throw error
    throw siteError(site, 'store', `cannot be used: ${messageOf(error)}`)
  })
}

/** What only opening a store would tell, for `berth check`. */
export async function storeFailures(site: Site): Promise<BerthError[]> {
  const tries = [() => findImporter(site), async () => mirrorRules(site), async () => registryProxy(site)]
  const tried = await Promise.allSettled(tries.map((attempt) => attempt()))
  const failures = tried.map((one) => (one.status === 'rejected' ? one.reason : undefined))
  return failures.filter((failure) => failure instanceof BerthError)
}

async function findImporter(site: Site): Promise<{ uid: number; gid: number }> {
  const named = site.get('importer_user')
  for (const name of named === '' ? IMPORTER_ACCOUNTS : [named]) {
    const user = await native.userByName(name)
    if (user !== undefined && user.uid !== 0) return { uid: user.uid, gid: user.gid }
  }
  throw siteError(
    site,
    'importer_user',
    named === '' ? 'no account nobody' : `no unprivileged account ${named}`,
  )
}

function mirrorRules(site: Site): string[] {
  const rules = site.get('registry_mirrors')
  const bad = badMirror(rules)
  if (bad !== undefined) throw siteError(site, 'registry_mirrors', `${bad} is not HOST=MIRROR[/PREFIX]`)
  return rules
}

export function bytesOf(space: Space, directory: string): number {
  if ('bytes' in space) return space.bytes
  const { blocks, bsize } = statfsSync(directory)
  return Math.floor((blocks * bsize * space.percent) / 100)
}

function siteError(
  site: Site,
  key: 'store' | 'importer_user' | 'registry_mirrors',
  problem: string,
): BerthError {
  return new BerthError('BERTH_ESITE', { place: site.origin(key), key, problem })
}
