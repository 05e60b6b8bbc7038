// SPDX-License-Identifier: Apache-2.0
/** What is written to a container's root: whether it may be, and where it goes. */
import type { WritablePlace } from '../request/request.js'
import type { Space } from '../site/values.js'
import type { PlanInput } from './input.js'

type Words = Pick<PlanInput, 'request' | 'site'>

export function isWritable({ request, site }: Words): boolean {
  return request.readonly === undefined ? site.get('container_writable') : !request.readonly
}

/** Files that programs replace by renaming another over them: no mount point where the root can be written. */
export function plainIfWritable(words: Words): { plain?: true } {
  return isWritable(words) ? { plain: true } : {}
}

/** The layer of a step without a name; size: bytes or "50%", of memory or of the store's file system. */
export function writableLayer({ request, site }: Words): { on: WritablePlace; size: string } {
  const on = request.writableOn ?? site.get('container_writable_on')
  const space = site.get(on === 'disk' ? 'container_writable_disk_size' : 'container_writable_size')
  return { on, size: request.writableSize ?? spaceText(space) }
}

function spaceText(space: Space): string {
  return 'percent' in space ? `${space.percent}%` : String(space.bytes)
}
