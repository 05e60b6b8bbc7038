// SPDX-License-Identifier: Apache-2.0
import { formatStepName, parseStepName } from '../request/step_name.js'
import { UsageError } from './arguments.js'
import { callWorker } from './client.js'
import type { Command, CommandInput } from './command.js'
import { containerOf, type StepRow } from './ps.js'
import { runContainer } from './run.js'

const SHELL = ['/bin/sh']
const VARIABLE = /^[A-Za-z_]\w*$/

export const exec: Command = {
  summary: 'run one more command in a container that runs',
  usage: 'STEP|NAME [-- COMMAND [ARGS...]]',
  about: `Joins the container of one of your running steps on this node, named as \`berth ps\` shows it (4711.0,
4711.batch, run.PID of a \`berth run\`) or by --container-name, and runs the command there, /bin/sh without one. The command stays in the cgroup of whoever calls: inside a job that is the
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
  const id = parseStepName(target)
  const step = id === undefined ? target : formatStepName(id)
  const found = rows.find(({ name }) => name === target) ?? rows.find((row) => row.step === step)
  const name = found === undefined ? target : containerOf(found)
  // In a site where names are a job's, this says whose.
  const env = found?.job ? { ...process.env, SLURM_JOB_ID: String(found.job) } : process.env
  const options = [`container-name=${name}:exec`]
  if (like === undefined) return runContainer(places, options, command, { env })
  const names = Object.keys(like.env).filter((one) => VARIABLE.test(one))
  options.push(`container-workdir=${like.cwd}`, `container-env=${names.join(',')}`)
  return runContainer(places, options, command, { env, commandEnv: like.env })
}
