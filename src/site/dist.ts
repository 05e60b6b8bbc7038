// SPDX-License-Identifier: Apache-2.0
/** Where this berth lies: dist/, with its plugins, programs, addon and link to node. */
import { dirname } from 'node:path'

/** Of this file, and of the programs of dist/bin/ that are bundled into one file each: both lie one folder below. */
export const DIST = dirname(import.meta.dirname)
