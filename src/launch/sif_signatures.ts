// SPDX-License-Identifier: Apache-2.0
/** What the site wants signatures of SIF files to be, for the store. */
import type { SignatureOrder } from '../image/wire.js'
import { BerthError } from '../report/errors.js'
import type { Site } from '../site/site.js'
import { readTrustedBytes } from '../site/trusted_file.js'

/** Goes to the importer in a frame; a thousand keys of RSA 4096 and many people's signatures are less. */
const KEYS_BYTES_MAX = 512 << 10

/** Undefined: nothing. The keys are read at each call, unread: only the importer parses them. */
export function sifSignatures(site: Site): (() => SignatureOrder) | undefined {
  const policy = site.get('sif_signatures')
  if (policy === 'ignore') return undefined
  const file = site.get('sif_keys')
  return () => {
    const keys = readTrustedBytes(file, KEYS_BYTES_MAX)
    if (!(keys instanceof Error)) return { policy, file, keys: keys.toString('base64') }
    const problem = `${file} ${keys.message}`
    throw new BerthError('BERTH_ESITE', { place: site.origin('sif_signatures'), key: 'sif_keys', problem })
  }
}

/** Undefined: none. */
export function sifKeysFailure(site: Site): BerthError | undefined {
  try {
    sifSignatures(site)?.()
    return undefined
  } catch (error) {
    if (error instanceof BerthError) return error
    throw error
  }
}
