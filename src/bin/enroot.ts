#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The stand-in for enroot: dist/compat/enroot. */
import { main } from '../cli/enroot.js'

process.exitCode = await main(process.argv.slice(2))
