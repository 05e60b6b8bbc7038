// SPDX-License-Identifier: Apache-2.0
import { callWorker } from './client.js'
import { columns, showAge, showBytes } from './columns.js'
import { type Command, Exit } from './command.js'

export interface ImageRow {
  key: string
  reference: string
  digest: string
  size: number
  created: number
  /** Seconds since the epoch; absent: never. */
  used?: number
  leases: number
}

/** Enough of a digest to tell images apart, as docker and podman show it. */
const SHORT_DIGEST = 19

export const images: Command = {
  summary: 'list the images in the store of this node',
  usage: '[--json]',
  about: 'Lists what is imported: name, digest, size on disk, age, and how many running steps use it.',
  examples: [
    ['berth images', 'a table'],
    ["berth images --json | jq -r '.[].digest'", 'all digests'],
  ],
  options: {},
  async run({ places, json }) {
    const rows = (await callWorker(places, 'images', [])) as ImageRow[]
    if (json) {
      process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
      return Exit.OK
    }
    const now = Date.now() / 1000
    const cells = rows.map((row) => [
      row.reference || row.key,
      row.digest.slice(0, SHORT_DIGEST),
      showBytes(row.size),
      showAge(now - row.created),
      row.leases === 0 ? '-' : String(row.leases),
    ])
    process.stdout.write(columns(['IMAGE', 'DIGEST', 'SIZE', 'AGE', 'IN USE'], cells))
    return Exit.OK
  },
}
