// SPDX-License-Identifier: Apache-2.0
import { familiarName, parseReference } from '../image/reference.js'
import { Tag } from '../worker/frame.js'
import { UsageError } from './arguments.js'
import { callWorker, environmentField } from './client.js'
import { type Command, Exit } from './command.js'

interface Pulled {
  reference: string
  digest: string
  key: string
  size: number
}

export const pull: Command = {
  summary: 'bring an image into the store of this node',
  usage: 'IMAGE...',
  about: `Imports each image as a step would, so that the next one starts at once; an image that is there already
is only checked. Uses your own registry credentials. Prints one digest a line.`,
  examples: [
    ['berth pull python:3.12', 'from Docker Hub'],
    ['berth pull oci-archive:sim.tar', 'from a file made by podman save or skopeo copy'],
  ],
  options: {},
  async run({ args, places, json }) {
    if (args.words.length === 0) throw new UsageError('no image named')
    for (const image of args.words) parseReference(image)
    const pulled: Pulled[] = []
    for (const image of args.words) {
      const more = [
        [Tag.CWD, process.cwd()],
        [Tag.ENV, environmentField(process.env)],
        [Tag.TTY, process.stderr.isTTY ? process.stderr.columns : 0],
      ] as const
      const result = (await callWorker(places, 'pull', [image], more)) as Pulled
      pulled.push(result)
      if (!json) process.stdout.write(`${result.digest || familiarName(parseReference(image))}\n`)
    }
    if (json) process.stdout.write(`${JSON.stringify(pulled, null, 2)}\n`)
    return Exit.OK
  },
}
