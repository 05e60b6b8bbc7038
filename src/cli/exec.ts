// SPDX-License-Identifier: Apache-2.0
import { UsageError } from './arguments.js'
import { callWorker } from './client.js'
import type { Command, CommandInput } from './command.js'
import type { StepRow } from './ps.js'
import { runContainer } from './run.js'

const SHELL = ['/bin/sh']
const VARIABLE = /^[A-Za-z_]\w*$/
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

/** How one more command lives: where, and with variables that win over the image's. */
export interface Likeness {
  cwd: string
  env: Readonly<Record<string, string>>
}

/** @throws BerthError BERTH_ENAMEIDLE */
export async function execIn(
  places: CommandInput['places'],
  target: string,
  command: string[],
  like?: Likeness,
): Promise<number> {
  const rows = (await callWorker(places, 'ps', [])) as StepRow[]
  const [, job, step] = STEP.exec(target) ?? []
  const found =
    rows.find(({ name }) => name === target) ??
    rows.find((row) => String(row.job) === job && String(row.stepId) === step)
  const name = found?.name || target
  // In a site where names are a job's, this says whose.
  const env = found === undefined ? process.env : { ...process.env, SLURM_JOB_ID: String(found.job) }
  const options = [`container-name=${name}:exec`]
  if (like === undefined) return runContainer(places, options, command, { env })
  const names = Object.keys(like.env).filter((one) => VARIABLE.test(one))
  options.push(`container-workdir=${like.cwd}`, `container-env=${names.join(',')}`)
  return runContainer(places, options, command, { env, commandEnv: like.env })
}
