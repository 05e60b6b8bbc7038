// SPDX-License-Identifier: Apache-2.0
/** index_seeds.ts CONVERTER DIRECTORY: images of small stacks of layers, uncompressed, so that every byte of a table counts. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tar } from '../native/squash/tar_writer.js'
import { STACKS } from './stacks.js'

const [converter = '', directory = '.'] = process.argv.slice(2)
const scratch = mkdtempSync(join(tmpdir(), 'berth-seeds-'))
mkdirSync(directory, { recursive: true })
for (const [name, layers] of Object.entries(STACKS)) {
  const paths = layers.map((entries, i) => {
    const path = join(scratch, `${name}${i}`)
    writeFileSync(path, tar(...entries))
    return path
  })
  const words = ['-compressor', 'none', '-block', '4096', join(directory, name), ...paths]
  // Some stacks are there to be refused.
  if (spawnSync(converter, words).status !== 0) rmSync(join(directory, name))
}
rmSync(scratch, { recursive: true })
