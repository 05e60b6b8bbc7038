// SPDX-License-Identifier: Apache-2.0
/**
 * VENDOR/CLASS=all where no CDI file has a device of that name: each device of the kind, of which a step gets its own.
 * Toolkits write one themselves for GPUs; many other vendors do not.
 */
import type { CdiCatalog } from '../site/cdi.js'

const ALL = '=all'

/** Undefined: the name is one device's, or nobody's. */
export function devicesOfKind({ devices }: CdiCatalog, name: string): string[] | undefined {
  if (!name.endsWith(ALL) || devices.has(name)) return undefined
  const kind = name.slice(0, name.length - ALL.length)
  const own = [...devices.keys()].filter((one) => one.startsWith(`${kind}=`)).sort()
  return own.length === 0 ? undefined : own
}
