#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The sandboxed child of the worker: arguments are FILE_BYTES_MAX and the directories it may read. */
import { readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Importer } from '../image/import.js'
import { hostPlatform } from '../image/platform.js'
import { native } from '../native.js'

const SOCKET_FD = 3

const [fileSizeMax, ...read] = process.argv.slice(2)
// The only look at /proc, before the sandbox closes it: which variants of an image this processor can run.
const host = hostPlatform(process.arch, readFileSync('/proc/cpuinfo', 'utf8'))
// undici loads its parser at the first connection.
read.push(dirname(fileURLToPath(import.meta.resolve('undici'))))
native.sandbox({ read, fileSizeMax: Number(fileSizeMax), network: true })
new Importer(native, SOCKET_FD, host, () => process.exit(0))
