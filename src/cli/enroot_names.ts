// SPDX-License-Identifier: Apache-2.0
/** Containers under the names that pyxis gives them: pyxis_NAME, pyxis_JOBID_NAME, pyxis_JOBID.STEPID. */
import type { ContainerRow } from './containers.js'
import type { StepRow } from './ps.js'

const PREFIX = 'pyxis_'
/** enroot's own containers, which --container-name does not see, have this before their name here. */
const OWN = 'enroot.'
const JOB_SCOPE = /^job-(\d+)$/
const UNNAMED = /^(?:\d+_)?(\d+\.\d+)$/

export interface Listed {
  name: string
  /** First process of each step that runs in it. */
  pids: number[]
}

export function pyxisName({ name, scope }: Pick<ContainerRow, 'name' | 'scope'>): string {
  if (name.startsWith(OWN)) return name.slice(OWN.length)
  const [, job] = JOB_SCOPE.exec(scope) ?? []
  return job === undefined ? `${PREFIX}${name}` : `${PREFIX}${job}_${name}`
}

/** The name on disk of what enroot is to make; a job's own containers are made by its steps alone. */
export function nameOnDisk(name: string): string {
  return name.startsWith(PREFIX) ? name.slice(PREFIX.length) : OWN + name
}

/** Those on disk, and the unnamed ones that run, as long as they do; one user's. */
export function listed(
  containers: readonly ContainerRow[],
  steps: readonly StepRow[],
  uid: number,
): Listed[] {
  const named = containers
    .filter((row) => row.uid === uid)
    .map((row) => ({ name: pyxisName(row), pids: row.running.flatMap(({ pids }) => pids.slice(0, 1)) }))
  const unnamed = steps
    .filter((step) => step.uid === uid && step.name === '' && step.job > 0 && step.pids.length > 0)
    .map(({ job, stepId, pids }) => ({ name: `${PREFIX}${job}.${stepId}`, pids: pids.slice(0, 1) }))
  return [...named, ...unnamed].sort((left, right) => (left.name < right.name ? -1 : 1))
}

/** The container that a name of pyxis', or a bare one, means. */
export function findListed(
  containers: readonly ContainerRow[],
  text: string,
  uid: number,
): ContainerRow | undefined {
  const own = containers.filter((row) => row.uid === uid)
  return own.find((row) => pyxisName(row) === text) ?? own.find(({ name }) => name === text)
}

/** The step whose unnamed container is meant: JOBID.STEPID. */
export function unnamedStep(text: string): string | undefined {
  return UNNAMED.exec(text.startsWith(PREFIX) ? text.slice(PREFIX.length) : text)?.[1]
}
