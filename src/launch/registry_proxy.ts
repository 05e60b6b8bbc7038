// SPDX-License-Identifier: Apache-2.0
/** How registries are reached, as variables: the importer heeds those of its environment (src/image/origin.ts). */
import { BerthError } from '../report/errors.js'
import type { Site } from '../site/site.js'

const GRAMMAR = 'http://[USER:PASSWORD@]HOST[:PORT]'

/** What the site says, over the worker's own environment, which is empty unless a service manager fills it. @throws BERTH_ESITE */
export function registryProxy(site: Pick<Site, 'get' | 'origin'>): Record<string, string> {
  const proxy = site.get('registry_proxy')
  const without = site.get('registry_no_proxy')
  if (proxy !== '' && !isProxy(proxy))
    throw new BerthError('BERTH_ESITE', {
      place: site.origin('registry_proxy'),
      key: 'registry_proxy',
      // Without the value: it may have a password in it.
      problem: `should be ${GRAMMAR}`,
    })
  return {
    ...(proxy === '' ? {} : { http_proxy: proxy, https_proxy: proxy }),
    ...(without.length === 0 ? {} : { no_proxy: without.join(',') }),
  }
}

function isProxy(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, pathname } = new URL(text)
  return /^https?:$/.test(protocol) && hostname !== '' && pathname === '/'
}
