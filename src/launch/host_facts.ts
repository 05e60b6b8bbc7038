// SPDX-License-Identifier: Apache-2.0
/** Facts about the node for plan/hookup.ts: gathered once, read again only where a file's times have changed. */
import { machine } from 'node:os'
import type { HostFacts } from '../plan/host.js'

/** Runs before every step: an unchanged node costs a few stat(2) calls. */
export function hostFacts(): HostFacts {
  return { machine: machine() }
}
