#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/**
 * The sandboxed child that saves a container (docs/decisions/0009-save.md). Arguments: FILE_BYTES_MAX, directory of the
 * program. Descriptors: 3 the worker, 4 image, 5 upper directory, 6 new image, 7 names of opaque directories.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { type AssembleOptions, type NativeError, native } from '../native.js'

const [fileSizeMax = '0', distDir = '/'] = process.argv.slice(2)
const opaque = readFileSync(7, 'utf8').split('\0').slice(0, -1)
try {
  // As src/native/spawn.ts has it for others; this one's parent does not know its number.
  writeFileSync('/proc/self/oom_score_adj', '0')
} catch {
  // Spared like the worker, as it was.
}
native.sandbox({
  read: ['/proc/self/fd/5', distDir],
  fileSizeMax: Number(fileSizeMax),
  network: false,
  readAny: true,
})

let order = ''
const worker = native.adopt(3, {
  data(bytes) {
    order += bytes.toString('utf8')
    if (order.endsWith('\n')) void save(JSON.parse(order) as AssembleOptions)
  },
  closed: () => process.exit(0),
})

async function save(options: AssembleOptions): Promise<void> {
  const answer = await native
    .assembleSquash({ ...options, image: 4, upper: 5, out: 6, opaque })
    .catch(({ code, path, message }: NativeError) => ({ code, path, message }))
  worker.send(Buffer.from(JSON.stringify(answer)))
  worker.end()
}
