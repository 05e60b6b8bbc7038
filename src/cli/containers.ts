// SPDX-License-Identifier: Apache-2.0
import { UsageError } from './arguments.js'
import { callWorker } from './client.js'
import { columns, showAge, showBytes } from './columns.js'
import { type Command, type CommandInput, Exit } from './command.js'

export interface ContainerRow {
  /** UID/SCOPE/NAME */
  id: string
  name: string
  uid: number
  /** global, or job-JOBID */
  scope: string
  image: string
  /** Bytes written on top of the image. */
  size: number
  /** Seconds since the epoch. */
  created: number
  running: { step: string; pids: number[] }[]
}

export const containers: Command = {
  summary: 'list or remove your containers with a name on this node',
  usage: '[rm NAME... [--force]] [--json]',
  about: `Lists the containers that --container-name has made: name, image, what was written on top of it, and which
steps run in them; root sees those of all users, as UID/SCOPE/NAME. rm removes them with everything in them. One that
runs is refused; with --force its name is free at once, and what runs keeps its files until it ends.`,
  examples: [
    ['berth containers', 'a table'],
    ['berth containers rm mytools', 'what was written is gone'],
    ['berth containers rm 1000/global/mytools', "another user's, for root"],
  ],
  options: { force: { type: 'boolean', help: 'also remove what is running' } },
  async run(input) {
    const [operation, ...names] = [...input.args.words, ...input.args.rest]
    if (operation === undefined) return list(input)
    if (operation !== 'rm') throw new UsageError(`say rm, or nothing, not ${operation}`)
    if (names.length === 0) throw new UsageError('no container named')
    const removed = await removeContainers(input.places, names, input.args.flags.has('force'))
    if (input.json) process.stdout.write(`${JSON.stringify(removed)}\n`)
    return Exit.OK
  },
}

export async function listContainers(places: CommandInput['places']): Promise<ContainerRow[]> {
  return (await callWorker(places, 'containers', [])) as ContainerRow[]
}

/** @throws BerthError BERTH_ENOSUCHCONTAINER, BERTH_ENAMERUNNING */
export async function removeContainers(
  places: CommandInput['places'],
  names: readonly string[],
  force: boolean,
): Promise<string[]> {
  return (await callWorker(places, 'containers-rm', [force ? 'force' : '', ...names])) as string[]
}

async function list({ places, json }: CommandInput): Promise<number> {
  const rows = await listContainers(places)
  if (json) {
    process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
    return Exit.OK
  }
  const now = Date.now() / 1000
  const isRoot = process.getuid?.() === 0
  const cells = rows.map(({ id, name, image, size, created, running }) => [
    isRoot ? id : name,
    image,
    showBytes(size),
    showAge(now - created),
    running.map(({ step }) => step).join(', ') || '-',
  ])
  process.stdout.write(columns(['NAME', 'IMAGE', 'WRITTEN', 'AGE', 'RUNNING'], cells))
  return Exit.OK
}
