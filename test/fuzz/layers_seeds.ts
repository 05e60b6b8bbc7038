// SPDX-License-Identifier: Apache-2.0
/** layers_seeds.ts DIRECTORY: small stacks of layers of every kind as seeds for layers_fuzz.cc. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { tar } from '../native/squash/tar_writer.js'
import { STACKS } from './stacks.js'

function stack(layers: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [Buffer.from([layers.length - 1])]
  for (const layer of layers) {
    const length = Buffer.alloc(2)
    length.writeUInt16LE(layer.length)
    parts.push(length, layer)
  }
  return Buffer.concat(parts)
}

const [directory = '.'] = process.argv.slice(2)
mkdirSync(directory, { recursive: true })
for (const [name, layers] of Object.entries(STACKS)) {
  const tars: Buffer[] = layers.map((entries) => tar(...entries))
  writeFileSync(join(directory, name), stack(tars))
  writeFileSync(join(directory, `${name}-gzip`), stack(tars.map((bytes) => gzipSync(bytes))))
  const zstd = (input: Buffer): Buffer => execFileSync('zstd', ['-qc'], { input })
  writeFileSync(join(directory, `${name}-zstd`), stack(tars.map((bytes) => zstd(bytes))))
}
