// SPDX-License-Identifier: Apache-2.0
import { parseSeconds, SECONDS_GRAMMAR } from '../site/values.js'
import { UsageError } from './arguments.js'
import { callWorker } from './client.js'
import { showBytes } from './columns.js'
import { type Command, Exit } from './command.js'

/** Nodes note the uses of a long step every six hours. */
const UNUSED_S_MIN = 86_400

interface Collected {
  /** With names: users' own, never collected. */
  containers: { count: number; bytes: number; unreadable: { uid: number; name: string }[] }
  removed: { key: string; size: number }[]
}

export const gc: Command = {
  summary: 'free space in the store of this node (root)',
  usage: '[--all] [--shared --unused=TIME]',
  about: `Removes temporary files of crashed imports and, if the store is over its quota or the file system below its
free-space floor, the images that were not used for longest. Images of running steps stay, and so
do containers with names and their images: what users wrote there counts in the quota, and is removed with
\`berth containers rm\` only. With --shared it looks at the shared store instead, where it removes what no node has
used for the time of --unused; steps use what they have mounted.`,
  examples: [
    ['berth gc', 'what the limits ask for'],
    ['berth gc --all', 'every image that no step uses'],
    ['berth gc --shared --unused=30d', 'on one node of the cluster, from cron'],
  ],
  options: {
    all: { type: 'boolean', help: 'remove every image that no running step uses' },
    shared: { type: 'boolean', help: 'in the shared store' },
    unused: { type: 'string', value: 'TIME', help: 'with --shared: at least 1d without a use' },
  },
  wordsMax: 0,
  async run({ args, places, json }) {
    if (args.flags.has('shared')) {
      const unused_s = readUnused(args.values.unused)
      showRemoved((await callWorker(places, 'gc-shared', [String(unused_s)])) as Collected['removed'], json)
      return Exit.OK
    }
    if (args.values.unused !== undefined) throw new UsageError('--unused goes with --shared')
    const words = args.flags.has('all') ? ['all'] : []
    const { removed, containers } = (await callWorker(places, 'gc', words)) as Collected
    showRemoved(removed, json)
    if (containers.count > 0)
      process.stderr.write(
        `kept: ${containers.count} containers with names, ${showBytes(containers.bytes)}\n`,
      )
    for (const { uid, name } of containers.unreadable)
      process.stderr.write(
        `kept: every image, until the disk gives the record of container ${name} (user ${uid})\n`,
      )
    return Exit.OK
  },
}

function showRemoved(removed: Collected['removed'], json: boolean): void {
  if (json) process.stdout.write(`${JSON.stringify(removed, null, 2)}\n`)
  else for (const { key, size } of removed) process.stdout.write(`${key} ${showBytes(size)}\n`)
}

function readUnused(text: string | undefined): number {
  const seconds = text === undefined ? undefined : parseSeconds(text)
  if (seconds === undefined) throw new UsageError(`--shared wants --unused: ${SECONDS_GRAMMAR}`)
  if (seconds < UNUSED_S_MIN) throw new UsageError('--unused is at least 1d: nodes note their uses rarely')
  return seconds
}
