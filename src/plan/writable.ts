// SPDX-License-Identifier: Apache-2.0
/** Files that programs replace by renaming another over them: no mount point where the root can be written. */
import type { PlanInput } from './input.js'

export function plainIfWritable({ request, site }: PlanInput): { plain?: true } {
  const writable = request.readonly === undefined ? site.get('container_writable') : !request.readonly
  return writable ? { plain: true } : {}
}
