// SPDX-License-Identifier: Apache-2.0
import { type EngineRow, lacks } from '../engine/describe.js'
import { callWorker } from './client.js'
import { columns } from './columns.js'
import { type Command, Exit } from './command.js'

export const engines: Command = {
  summary: 'list the container engines of this node',
  usage: '[--json]',
  about: `Lists every engine that --container-engine can name: its version here, or why this node has not got it, and
which options it cannot serve. The order is that in which --container-engine=auto tries them.`,
  examples: [
    ['berth engines', 'a table'],
    ['srun -w NODE berth engines --json', 'of another node, with all abilities'],
  ],
  options: {},
  wordsMax: 0,
  async run({ places, json }) {
    const rows = (await callWorker(places, 'engines', [])) as EngineRow[]
    if (json) {
      process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
      return Exit.OK
    }
    const cells = rows.map(({ name, version, state, problem, abilities }) => [
      name,
      version || '-',
      state === 'ready' ? 'ready' : `${state}: ${problem}`,
      lacks(abilities).join(', ') || '-',
    ])
    process.stdout.write(columns(['ENGINE', 'VERSION', 'STATE', 'CANNOT'], cells))
    return Exit.OK
  },
}
