// SPDX-License-Identifier: Apache-2.0
/** The names of all options: one row each, as in slurm/flags.c; the grammar of each value lives in its own file. */

/** single: the last one wins. list: repeats add up. flag: yes or no, with a --no- form or an opposite. */
type Kind = 'single' | 'list' | 'flag'

interface Row {
  kind: Kind
  /** The environment name pyxis has for it, where pyxis has the option. */
  pyxis: boolean
  /** The option that says the opposite; given together on one command line they are refused. */
  opposite?: string
  /** A flag that may carry a value beside yes and no. */
  value?: boolean
  /** Another product's word: said in container-* options before anything else looks at it, and no BERTH_ variable. */
  dialect?: 'shifter' | 'gsi'
}

export const OPTIONS = {
  'container-image': { kind: 'single', pyxis: true },
  'container-engine': { kind: 'single', pyxis: false },
  'container-engine-args': { kind: 'single', pyxis: false },
  'container-profile': { kind: 'list', pyxis: false },
  'container-mounts': { kind: 'list', pyxis: true },
  'container-mount-cwd': { kind: 'flag', pyxis: false, opposite: 'no-container-mount-cwd' },
  'container-mount-home': { kind: 'flag', pyxis: true, opposite: 'no-container-mount-home' },
  'container-workdir': { kind: 'single', pyxis: true },
  'container-env': { kind: 'list', pyxis: true },
  'container-name': { kind: 'single', pyxis: true },
  'container-save': { kind: 'single', pyxis: true },
  'container-writable': { kind: 'flag', pyxis: true, opposite: 'container-readonly', value: true },
  'container-readonly': { kind: 'flag', pyxis: true, opposite: 'container-writable' },
  'container-remap-root': { kind: 'flag', pyxis: true, opposite: 'no-container-remap-root' },
  'container-entrypoint': { kind: 'flag', pyxis: true, opposite: 'no-container-entrypoint' },
  'container-entrypoint-log': { kind: 'flag', pyxis: true },
  'container-unshare': { kind: 'list', pyxis: true },
  'container-shm-size': { kind: 'single', pyxis: false },
  'container-scope': { kind: 'single', pyxis: false },
  'container-mpi': { kind: 'single', pyxis: false },
  'container-device': { kind: 'list', pyxis: false },
  'container-explain': { kind: 'flag', pyxis: false },
  environment: { kind: 'single', pyxis: false },
  edf: { kind: 'single', pyxis: false },
  image: { kind: 'single', pyxis: false, dialect: 'shifter' },
  volume: { kind: 'list', pyxis: false, dialect: 'shifter' },
  module: { kind: 'list', pyxis: false, dialect: 'shifter' },
  'shifter.image': { kind: 'single', pyxis: false, dialect: 'shifter' },
  'shifter.volume': { kind: 'list', pyxis: false, dialect: 'shifter' },
  'shifter.module': { kind: 'list', pyxis: false, dialect: 'shifter' },
  'singularity-container': { kind: 'single', pyxis: false, dialect: 'gsi' },
  'singularity-bind': { kind: 'list', pyxis: false, dialect: 'gsi' },
  'singularity-args': { kind: 'single', pyxis: false, dialect: 'gsi' },
  'singularity-no-bind-defaults': { kind: 'flag', pyxis: false, dialect: 'gsi' },
} as const satisfies Record<string, Row>

export type OptionName = keyof typeof OPTIONS

export function optionRow(name: OptionName): Row {
  return OPTIONS[name]
}

export function isOptionName(name: string): name is OptionName {
  return Object.hasOwn(OPTIONS, name)
}

/** container-image → CONTAINER_IMAGE: the part that BERTH_, PYXIS_ and SLURM_BERTH_ names share. */
export function environmentSuffix(name: string): string {
  return name.toUpperCase().replaceAll(/[-.]/g, '_')
}
