// SPDX-License-Identifier: Apache-2.0
/**
 * What hookup needs to know about the node: plain data, gathered by launch/host_facts.ts, so that planning touches
 * nothing. Each contributor adds the part it reads; an optional part that is absent was not found or not looked for.
 */
import type { AcceleratorFacts } from './accelerators.js'

export interface HostFacts {
  /** As uname(2) says: x86_64, aarch64. */
  machine: string
  /** Devices, drivers and files that the step's devices and the site's profiles name. */
  accelerators?: AcceleratorFacts
}
