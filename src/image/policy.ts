// SPDX-License-Identifier: Apache-2.0
/** Which registries the site takes images from. */
import { BerthError } from '../report/errors.js'
import type { Site } from '../site/site.js'
import type { ImageReference } from './image.js'
import { registryName } from './reference.js'

/** Files are the user's own. @throws BerthError BERTH_EPOLICY */
export function checkRegistry({ source }: ImageReference, site: Pick<Site, 'get' | 'origin'>): void {
  if (source.kind !== 'registry') return
  const { host } = source
  // At another port anybody may answer: what is allowed is one of them, what is denied all.
  const names = [host, host.replace(/:\d+$/, '')]
  const isDenied = site.get('registries_deny').some((entry) => names.includes(registryName(entry)))
  const allowed = site.get('registries_allow')
  const isAllowed = allowed.length === 0 || allowed.some((entry) => registryName(entry) === host)
  if (!isDenied && isAllowed) return
  const key = isDenied ? 'registries_deny' : 'registries_allow'
  throw new BerthError('BERTH_EPOLICY', { what: `registry ${host}`, key, origin: site.origin(key) })
}
