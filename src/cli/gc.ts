// SPDX-License-Identifier: Apache-2.0
import { callWorker } from './client.js'
import { showBytes } from './columns.js'
import { type Command, Exit } from './command.js'

interface Collected {
  /** With names: users' own, never collected. */
  containers: { count: number; bytes: number }
  removed: { key: string; size: number }[]
}

export const gc: Command = {
  summary: 'free space in the store of this node (root)',
  usage: '[--all]',
  about: `Removes temporary files of crashed imports and, if the store is over its quota or the file system below its
free-space floor, the images that were not used for longest. Images of running steps stay, and so
do containers with names and their images: what users wrote there counts in the quota, and is removed with
\`berth containers rm\` only.`,
  examples: [
    ['berth gc', 'what the limits ask for'],
    ['berth gc --all', 'every image that no step uses'],
  ],
  options: { all: { type: 'boolean', help: 'remove every image that no running step uses' } },
  async run({ args, places, json }) {
    const { removed, containers } = (await callWorker(
      places,
      'gc',
      args.flags.has('all') ? ['all'] : [],
    )) as Collected
    if (json) process.stdout.write(`${JSON.stringify(removed, null, 2)}\n`)
    else for (const { key, size } of removed) process.stdout.write(`${key} ${showBytes(size)}\n`)
    if (containers.count > 0)
      process.stderr.write(
        `kept: ${containers.count} containers with names, ${showBytes(containers.bytes)}\n`,
      )
    return Exit.OK
  },
}
