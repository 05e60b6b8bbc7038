#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The command line: `berth COMMAND`. */
import { main } from '../cli/main.js'

process.exitCode = await main(process.argv.slice(2))
