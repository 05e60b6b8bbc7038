#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/** The sandboxed child of the worker: arguments are FILE_BYTES_MAX and the directories it may read. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Importer } from '../image/import.js'
import { hostPlatform } from '../image/platform.js'
import { native } from '../native.js'

const SOCKET_FD = 3

const [fileSizeMax, ...read] = process.argv.slice(2)
// The only look at /proc, before the sandbox closes it: which variants of an image this processor can run.
const host = hostPlatform(process.arch, readFileSync('/proc/cpuinfo', 'utf8'))
// Loaded for the first signature; all else is in this file once it is built.
read.push(packageDirectory('openpgp'))
native.sandbox({ read, fileSizeMax: Number(fileSizeMax), network: true })
new Importer(native, SOCKET_FD, host, () => process.exit(0))

function packageDirectory(name: string): string {
  const file = fileURLToPath(import.meta.resolve(name))
  const end = `/node_modules/${name}/`
  return file.slice(0, file.lastIndexOf(end) + end.length)
}
