// SPDX-License-Identifier: Apache-2.0
import { UsageError } from './arguments.js'
import { callWorker } from './client.js'
import { showBytes } from './columns.js'
import { type Command, Exit } from './command.js'

interface Removed {
  key: string
  size: number
}

export const rm: Command = {
  summary: 'remove images from the store of this node (root)',
  usage: 'IMAGE|DIGEST...',
  about: `Removes each image by name, digest or key as \`berth images\` shows it. An image that a running step uses is
refused, and so is one that a container with a name sits on (\`berth containers\`). The store is shared by all users
of the node, so this is for root.`,
  examples: [['berth rm python:3.12', 'all digests that this name was resolved to']],
  options: {},
  async run({ args, places, json }) {
    if (args.words.length === 0) throw new UsageError('no image named')
    const removed = (await callWorker(places, 'rm', args.words)) as Removed[]
    if (json) process.stdout.write(`${JSON.stringify(removed, null, 2)}\n`)
    else for (const { key, size } of removed) process.stdout.write(`${key} ${showBytes(size)}\n`)
    return Exit.OK
  },
}
