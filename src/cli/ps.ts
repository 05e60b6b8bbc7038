// SPDX-License-Identifier: Apache-2.0
import { formatStepName } from '../request/step_name.js'
import { callWorker } from './client.js'
import { columns, showAge } from './columns.js'
import { type Command, Exit } from './command.js'

export interface StepRow {
  /** As `berth exec` takes it: 4711.0, 4711.batch, run.PID, or the container's id of `berth oci run`. */
  step: string
  uid: number
  job: number
  stepId: number
  /** Of its container; '' when it has none. */
  name: string
  image: string
  engine: string
  /** importing | ready | running | failed */
  state: string
  pids: number[]
  /** Of `berth oci run`; '' otherwise. */
  id: string
  /** Whose end is the step's: slurmstepd, or `berth run`. */
  owner: number
  /** Its directory on the host. */
  cwd: string
  /** Seconds since the epoch. */
  since: number
}

/** What --container-name calls the container of that step. */
export function containerOf({ name, job, stepId, owner }: StepRow): string {
  return name || formatStepName({ job, step: job === 0 ? owner : stepId })
}

export const ps: Command = {
  summary: 'list the steps with a container on this node',
  usage: '[--json]',
  about: `Lists your own steps and \`berth run\` commands; root sees those of all users. What STEP and NAME show is what
\`berth exec\` takes.`,
  examples: [['berth ps', 'a table']],
  options: {},
  wordsMax: 0,
  async run({ places, json }) {
    const rows = (await callWorker(places, 'ps', [])) as StepRow[]
    if (json) {
      process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
      return Exit.OK
    }
    const now = Date.now() / 1000
    const cells = rows.map(({ step, uid, name, image, state, pids, since }) => [
      step,
      String(uid),
      name || '-',
      image,
      state,
      String(pids.length),
      showAge(now - since),
    ])
    process.stdout.write(columns(['STEP', 'UID', 'NAME', 'IMAGE', 'STATE', 'TASKS', 'AGE'], cells))
    return Exit.OK
  },
}
