// SPDX-License-Identifier: Apache-2.0
import { UsageError } from './arguments.js'
import type { Command, CommandInput } from './command.js'

type Operation = (input: CommandInput, words: readonly string[]) => Promise<number>

/** Loaded when named only: `run` stands between Slurm and each task. */
const OPERATIONS: Readonly<Record<string, () => Promise<Operation>>> = {
  run: async () => (await import('./oci_run.js')).runBundle,
  state: async () => (await import('./oci_state.js')).showState,
  kill: async () => (await import('./oci_state.js')).killContainer,
  delete: async () => (await import('./oci_state.js')).deleteContainer,
  bundle: async () => (await import('./oci_bundle.js')).writeBundle,
}

export const oci: Command = {
  summary: "run OCI bundles: the runtime of Slurm's oci.conf",
  usage: 'run [--bundle=DIR] ID | state ID | kill ID [SIGNAL] | delete ID | bundle IMAGE DIR',
  about: `For \`srun --container=BUNDLE\`, with RunTimeRun, RunTimeQuery, RunTimeKill and RunTimeDelete in oci.conf. run reads
the bundle's config.json: command, environment, directory, mounts and root, which is a directory, or, with the annotation
io.berth.image, an image of the store, mounted and not unpacked. bundle writes such a config.json. What config.json asks for
and cannot be had is refused, what has no effect is named. run exits as the command does; 125, 126 and 127 are berth's.`,
  examples: [
    ['berth oci bundle python:3.12 mybundle', 'then: srun --container=$PWD/mybundle python3 -V'],
    ['berth oci run --bundle=mybundle test1', 'without Slurm: the command of config.json'],
  ],
  options: {
    bundle: { type: 'string', value: 'DIR', help: 'directory of config.json (run; default: here)' },
    all: { type: 'boolean', help: 'for scripts written for runc: kill reaches all processes anyway' },
    force: { type: 'boolean', help: 'delete: also what runs' },
  },
  async run(input) {
    const [name = '', ...words] = [...input.args.words, ...input.args.rest]
    if (name === 'create' || name === 'start')
      throw new UsageError(
        `there is no ${name}: set RunTimeRun in oci.conf, not RunTimeCreate and RunTimeStart`,
      )
    const load = Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined
    if (load === undefined) throw new UsageError(name === '' ? 'say what to do' : `unknown operation ${name}`)
    return (await load())(input, words)
  },
}

/** @throws UsageError */
export function takeId(words: readonly string[], more = 0): string {
  const [id] = words
  if (id === undefined) throw new UsageError('no container id')
  if (words.length > 1 + more) throw new UsageError(`too many words: ${words.slice(1 + more).join(' ')}`)
  if (!/^[\w+@.-]{1,255}$/.test(id)) throw new UsageError(`malformed container id ${JSON.stringify(id)}`)
  return id
}
