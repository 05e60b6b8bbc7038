// SPDX-License-Identifier: Apache-2.0
import { loadSite } from '../site/site.js'
import { UsageError } from './arguments.js'
import { type Command, type CommandInput, Exit } from './command.js'
import { checkKernel } from './doctor_kernel.js'
import { checkParts } from './doctor_parts.js'
import { checkReach } from './doctor_reach.js'
import { checkSettings } from './doctor_site.js'
import { checkSlurm } from './doctor_slurm.js'
import { checkShared, checkStepDisk, checkStore, checkWorker } from './doctor_worker.js'
import { settingsHere } from './plugin_line.js'

/** One line of the report; `fix` says what to do when it is not ok. */
export interface Finding {
  check: string
  state: 'ok' | 'warn' | 'fail'
  found: string
  fix?: string
  /** Of a reason that the plan of an image gives. */
  code?: string
}

export const doctor: Command = {
  summary: 'check this node: kernel, Slurm, store, worker; or what an image gets of it',
  usage: '[gpu|mpi [IMAGE [OPTIONS]]] [--json]',
  about: `Prints one line a check: ok, warn (works, but worse) or fail, the last two with the way to mend it. Run it as
root on a compute node for all checks. Exits 3 if one failed. With a topic, in a step: what that step has of the node,
what comes into the image, what does not, and what to change.`,
  examples: [
    ['berth doctor', 'all checks'],
    ['srun -N4 berth doctor --json', 'on four nodes, for a program'],
    [
      'srun --gres=gpu:1 berth doctor gpu pytorch/pytorch',
      "devices, driver, CDI files and the image's conditions",
    ],
    [
      'srun --mpi=pmi2 berth doctor mpi IMAGE',
      "the node's MPI, and whether it takes the place of the image's",
    ],
  ],
  options: {},
  container: true,
  wordsMax: 2,
  async run(input) {
    const { json } = input
    const findings = await findingsOf(input)
    if (json) process.stdout.write(`${JSON.stringify(findings, null, 2)}\n`)
    else process.stdout.write(findings.map(showFinding).join(''))
    return findings.some(({ state }) => state === 'fail') ? Exit.CHECK : Exit.OK
  },
}

/** By topic; each is loaded only when asked for. */
const TOPICS: Readonly<Record<string, (input: CommandInput) => Promise<Finding[]>>> = {
  gpu: async (input) => (await import('./doctor_gpu.js')).checkGpu(input),
  mpi: async (input) => (await import('./doctor_mpi.js')).checkMpi(input),
}

async function findingsOf(input: CommandInput): Promise<Finding[]> {
  const { places, args } = input
  const [topic] = args.words
  if (topic !== undefined) {
    const check = Object.hasOwn(TOPICS, topic) ? TOPICS[topic] : undefined
    if (check === undefined) throw new UsageError(`no checks of the name ${topic}`)
    return check(input)
  }
  const site = loadSite(await settingsHere(places))
  const settings = await checkSettings(site, places)
  return [
    ...(await checkParts()),
    ...(await checkReach(places)),
    ...(await checkKernel()),
    ...(await checkSlurm(places)),
    ...settings,
    ...(await checkStore(site)),
    ...(await checkStepDisk(site)),
    ...(await checkShared(site)),
    ...(await checkWorker(places, settings)),
  ]
}

/** Wide enough for the longest check name, so that the column of findings is straight. */
const NAME_WIDTH = 20

function showFinding({ check, state, found, fix }: Finding): string {
  const line = `${state.padEnd(5)} ${check.padEnd(NAME_WIDTH)} ${found}\n`
  return state === 'ok' || fix === undefined ? line : `${line}      fix: ${fix}\n`
}
