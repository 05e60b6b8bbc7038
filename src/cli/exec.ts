// SPDX-License-Identifier: Apache-2.0
import { UsageError } from './arguments.js'
import { callWorker } from './client.js'
import type { Command, CommandInput } from './command.js'
import type { StepRow } from './ps.js'
import { runContainer } from './run.js'

const SHELL = ['/bin/sh']
const STEP = /^(\d+)\.(\d+)$/

export const exec: Command = {
  summary: 'run one more command in a container that runs',
  usage: 'JOB.STEP|NAME [-- COMMAND [ARGS...]]',
  about: `Joins the container of one of your running steps on this node, named by step or by --container-name, and runs
the command there, /bin/sh without one. The command stays in the cgroup of whoever calls: inside a job that is the
job's. Exits as the command does, or as \`berth run\`.`,
  examples: [
    ['srun --jobid=4711 --overlap berth exec 4711.0 -- nvidia-smi', 'beside the step, inside of its job'],
    ['berth exec mytools -- ps', 'by name'],
  ],
  options: {},
  runsProgram: true,
  async run({ args, places }) {
    const [target, ...more] = args.words
    if (target === undefined) throw new UsageError('no step and no container named')
    const command = [...more, ...args.rest]
    return execIn(places, target, command.length === 0 ? SHELL : command)
  },
}

/** @throws BerthError BERTH_ENAMEIDLE */
export async function execIn(
  places: CommandInput['places'],
  target: string,
  command: string[],
): Promise<number> {
  const rows = (await callWorker(places, 'ps', [])) as StepRow[]
  const [, job, step] = STEP.exec(target) ?? []
  const found =
    rows.find(({ name }) => name === target) ??
    rows.find((row) => String(row.job) === job && String(row.stepId) === step)
  const name = found?.name || target
  // In a site where names are a job's, this says whose.
  const env = found === undefined ? process.env : { ...process.env, SLURM_JOB_ID: String(found.job) }
  return runContainer(places, [`container-name=${name}:exec`], command, { env })
}
