// SPDX-License-Identifier: Apache-2.0
/** Prints what the machine holds now, for leak.test.ts to compare with. */
import { lookAtMachine } from './machine.js'

process.stdout.write(JSON.stringify(lookAtMachine()))
