// SPDX-License-Identifier: Apache-2.0
/** A device node of the host at a place of the container: opened with the user's rights, no right is added. */
import { insideRoot } from './cwd.js'
import type { PlannedMount, Reason } from './spec.js'

export function bindNode(source: string, path: string, why: Reason): PlannedMount {
  return {
    ...{ kind: 'bind', source, target: insideRoot(path), flags: ['nosuid', 'noexec'], recursive: false },
    ...{ create: 'file', trusted: false, optional: false, replaceLink: true, ...why },
  }
}
