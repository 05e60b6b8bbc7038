// SPDX-License-Identifier: Apache-2.0
/** The engines that the matrix runs, one row each. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { engineByName } from '../../src/engine/engines.js'
import { CACHE_DIR } from '../cluster/images.js'

export interface EngineCase {
  name: string
  /** Why this machine cannot run it; undefined: it can. */
  missing?: string | undefined
  /** Debian has not the real one. */
  standIn?: true
  /** Further options of its steps. */
  options?: readonly string[]
  /** What its step gives tasks of its own, as NAME=VALUE. */
  variable?: string
}

/** Of Debian's sid, where the set-up could get it (test/newer.sh); else a stand-in plays it. */
export const APPTAINER_DIR = join(CACHE_DIR, 'apptainer-sid-v1/bin')
const APPTAINER = join(APPTAINER_DIR, 'apptainer')

/** Set: only what is there runs, and it is the real one. */
const REAL_PATH = process.env.ENGINE_PATH

const CASES: readonly EngineCase[] = [
  { name: 'native' },
  { name: 'crun', missing: without('crun') },
  { name: 'charliecloud', missing: without('ch-run') },
  { name: 'runc', missing: without('runc') },
  { name: 'podman', missing: without('podman') },
  {
    name: 'podman-hpc',
    standIn: true,
    missing: without('podman'),
    options: ['--container-engine-args=--gpu'],
    variable: 'STANDIN_MODULES=--gpu',
  },
  {
    name: 'enroot',
    standIn: true,
    missing: without('python3'),
    options: ['--container-engine-args=--env=FROM_ENROOT=here'],
    variable: 'FROM_ENROOT=here',
  },
  {
    name: 'apptainer',
    ...(existsSync(APPTAINER) ? {} : { standIn: true, missing: without('python3') }),
    options: ['--container-engine-args=--env=FROM_APPTAINER=here'],
    variable: 'FROM_APPTAINER=here',
  },
  {
    name: 'singularity',
    standIn: true,
    missing: without('python3'),
    options: ['--container-engine-args=--env=FROM_SINGULARITY=here'],
    variable: 'FROM_SINGULARITY=here',
  },
  {
    name: 'shifter',
    standIn: true,
    missing: without('cc'),
    options: ['--container-engine-args=--module=mpich,gpu'],
    variable: 'STANDIN_MODULES=mpich,gpu',
  },
  {
    name: 'sarus',
    standIn: true,
    missing: without('cc') ?? without('umoci'),
    options: ['--container-engine-args=--mpi'],
    variable: 'STANDIN_HOOKS=mpi',
  },
  { name: 'docker', missing: without('dockerd') },
]

export const ENGINE_CASES = REAL_PATH === undefined ? CASES : CASES.map((row) => real(row, REAL_PATH))

function real({ name, missing, options, variable }: EngineCase, path: string): EngineCase {
  const binary = engineByName(name)?.needs.binary
  const absent = binary === undefined ? undefined : without(binary, path.split(':'))
  // Docker's daemon is this machine's wherever its client is.
  const row = { name, missing: absent ?? (name === 'docker' ? missing : undefined) }
  const isOfStandIn = variable === undefined || variable.startsWith('STANDIN_')
  return isOfStandIn ? row : { ...row, ...(options === undefined ? {} : { options }), variable }
}

/** srun's words for a step in that engine: options, the engine's own, the image, the command. */
export function stepWords(
  { name, options = [] }: EngineCase,
  image: string,
  args: readonly string[],
  ...command: string[]
): string[] {
  return [...args, `--container-engine=${name}`, ...options, `--container-image=${image}`, ...command]
}

/** Looks where Debian's packages put programs. */
export function without(program: string, directories = ['/usr/bin', '/usr/sbin']): string | undefined {
  const found = directories.some((directory) => existsSync(`${directory}/${program}`))
  return found ? undefined : `no ${program} in ${directories.join(', ')}`
}
