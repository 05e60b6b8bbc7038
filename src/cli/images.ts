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
  pinned?: boolean
}

/** Enough of a digest to tell images apart, as docker and podman show it. */
const SHORT_DIGEST = 19

export const images: Command = {
  summary: 'list the images in the store of this node',
  usage: '[--shared] [--json]',
  about:
    'Lists what is imported: name, digest, size on disk, age, how many running steps use it, and whether it is\npinned. With --shared, what is in the shared store (root).',
  examples: [
    ['berth images', 'a table'],
    ["berth images --json | jq -r '.[].digest'", 'all digests'],
  ],
  options: { shared: { type: 'boolean', help: 'those of the shared store' } },
  wordsMax: 0,
  async run({ args, places, json }) {
    const isShared = args.flags.has('shared')
    const rows = (await callWorker(places, isShared ? 'images-shared' : 'images', [])) as ImageRow[]
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
      ...(isShared
        ? [showAge(now - (row.used ?? row.created))]
        : [row.leases === 0 ? '-' : String(row.leases), row.pinned === true ? 'yes' : '-']),
    ])
    const last = isShared ? ['USED'] : ['IN USE', 'PINNED']
    process.stdout.write(columns(['IMAGE', 'DIGEST', 'SIZE', 'AGE', ...last], cells))
    return Exit.OK
  },
}
