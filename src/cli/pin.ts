// SPDX-License-Identifier: Apache-2.0
import { UsageError } from './arguments.js'
import { callWorker } from './client.js'
import { type Command, type CommandInput, Exit } from './command.js'

const options = {}

export const pin: Command = {
  summary: 'keep images in the store of this node (root)',
  usage: 'IMAGE|DIGEST...',
  about: `A pinned image is never collected, neither for the quota or the free-space floor nor by \`berth gc --all\`;
\`berth rm\` still removes it. \`berth images\` shows which are pinned. The image must be there: see \`berth pull\`.
A digest is pinned, not a name: after a tag has moved, pin again.`,
  examples: [['berth pull python:3.12 && berth pin python:3.12', 'ready on this node, and to stay']],
  options,
  run: (input) => setPin('pin', input),
}

export const unpin: Command = {
  summary: 'let pinned images be collected again (root)',
  usage: 'IMAGE|DIGEST...',
  about: 'Takes back `berth pin`. The image stays until space is needed.',
  examples: [['berth unpin python:3.12', 'all digests that this name was resolved to']],
  options,
  run: (input) => setPin('unpin', input),
}

async function setPin(name: 'pin' | 'unpin', { args, places, json }: CommandInput): Promise<number> {
  if (args.words.length === 0) throw new UsageError('no image named')
  const keys = (await callWorker(places, name, args.words)) as string[]
  if (json) process.stdout.write(`${JSON.stringify(keys, null, 2)}\n`)
  else for (const key of keys) process.stdout.write(`${key}\n`)
  return Exit.OK
}
