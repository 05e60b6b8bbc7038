// SPDX-License-Identifier: Apache-2.0
import { formatEdf } from '../request/edf.js'
import { renderEdf } from '../request/edf_render.js'
import { UsageError } from './arguments.js'
import { type Command, Exit } from './command.js'
import { edfHost } from './edf_host.js'

export const edf: Command = {
  summary: 'show what an environment file says after all',
  usage: 'NAME | ./FILE | /FILE',
  about: `Finds the environment file (EDF) as --environment=NAME of srun does, in the directories of EDF_PATH or in
~/.edf, then in the site's; reads its base_environment files, expands variables and relative paths, and prints the
result as JSON. Notes on annotations without an effect go to stderr.`,
  examples: [
    ['berth edf pytorch', 'the file ~/.edf/pytorch.toml'],
    ['berth edf ./sim.toml', 'a file here'],
    [
      'export SLURM_BERTH_EDF="$(berth edf --render sim)"',
      'for a job that is submitted by slurmrestd, which runs no plugin',
    ],
  ],
  options: {
    render: { type: 'boolean', help: 'one line, as a job carries it' },
    'system-path': {
      type: 'string',
      value: 'DIR[:DIR]',
      help: "the site's directories, in place of edf_system_search_path",
    },
  },
  async run({ args, places }) {
    const [name, ...more] = [...args.words, ...args.rest]
    if (name === undefined || more.length > 0) throw new UsageError('name one environment')
    const { edf: rendered, notes } = renderEdf(name, edfHost(places, args.values['system-path']))
    for (const note of notes) process.stderr.write(`berth: note: ${note}\n`)
    const line = formatEdf(rendered)
    process.stdout.write(`${args.flags.has('render') ? line : JSON.stringify(JSON.parse(line), null, 2)}\n`)
    return Exit.OK
  },
}
