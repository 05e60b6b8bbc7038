// SPDX-License-Identifier: Apache-2.0
import type { Scrubbed } from '../store/scrub.js'
import { UsageError } from './arguments.js'
import { callWorker } from './client.js'
import { columns, showBytes } from './columns.js'
import { type Command, Exit } from './command.js'

export const scrub: Command = {
  summary: 'check that images in the store are whole (root)',
  usage: '[IMAGE|DIGEST...] [--shared] [--keep]',
  about: `Reads each image whole, as a process without rights: every table and block of the squashfs, and the SHA-256 of
the file against that of the first check or, in the shared store, of the publication. Prints a table and exits 3 if one is
damaged or could not be checked. A damaged image is removed, so that the next step imports it anew; running steps keep what
they have mounted. Containers with names on it want \`berth pull IMAGE\` then, which brings the same bytes back.`,
  examples: [
    ['berth scrub', 'all images of this node'],
    ['berth scrub --shared --keep', 'the shared store, only to look'],
  ],
  options: {
    shared: { type: 'boolean', help: 'check the shared store instead; on one node is enough' },
    keep: { type: 'boolean', help: 'remove nothing' },
  },
  async run({ args, places, json }) {
    const isShared = args.flags.has('shared')
    if (isShared && args.words.length > 0) throw new UsageError('--shared checks all images')
    const words = [isShared ? 'shared' : 'own', args.flags.has('keep') ? 'keep' : 'remove', ...args.words]
    const rows = (await callWorker(places, 'scrub', words)) as Scrubbed[]
    if (json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
    else {
      const cells = rows.map(({ key, reference, size, outcome, problem = '', removed }) => [
        ...[reference || key, showBytes(size), outcome],
        removed ? `${problem}; removed` : problem,
      ])
      process.stdout.write(columns(['IMAGE', 'SIZE', 'STATE', ''], cells))
    }
    return rows.every(({ outcome }) => outcome === 'ok') ? Exit.OK : Exit.CHECK
  },
}
