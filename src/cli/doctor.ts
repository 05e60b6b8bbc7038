// SPDX-License-Identifier: Apache-2.0
import { type Command, Exit } from './command.js'
import { checkKernel } from './doctor_kernel.js'
import { checkParts } from './doctor_parts.js'
import { checkSlurm } from './doctor_slurm.js'
import { checkShared, checkStore, checkWorker } from './doctor_worker.js'

/** One line of the report; `fix` says what to do when it is not ok. */
export interface Finding {
  check: string
  state: 'ok' | 'warn' | 'fail'
  found: string
  fix?: string
}

export const doctor: Command = {
  summary: 'check this node: kernel, Slurm, store, worker',
  usage: '[--json]',
  about: `Prints one line a check: ok, warn (works, but worse) or fail, the last two with the way to mend it. Run it as
root on a compute node for all checks. Exits 3 if one failed.`,
  examples: [
    ['berth doctor', 'all checks'],
    ['srun -N4 berth doctor --json', 'on four nodes, for a program'],
  ],
  options: {},
  async run({ places, json }) {
    const findings = [
      ...(await checkParts()),
      ...(await checkKernel()),
      ...(await checkSlurm(places)),
      ...(await checkStore(places)),
      ...(await checkShared(places)),
      ...(await checkWorker(places)),
    ]
    if (json) process.stdout.write(`${JSON.stringify(findings, null, 2)}\n`)
    else process.stdout.write(findings.map(showFinding).join(''))
    return findings.some(({ state }) => state === 'fail') ? Exit.CHECK : Exit.OK
  },
}

/** Wide enough for the longest check name, so that the column of findings is straight. */
const NAME_WIDTH = 20

function showFinding({ check, state, found, fix }: Finding): string {
  const line = `${state.padEnd(5)} ${check.padEnd(NAME_WIDTH)} ${found}\n`
  return state === 'ok' || fix === undefined ? line : `${line}      fix: ${fix}\n`
}
