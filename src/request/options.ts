// SPDX-License-Identifier: Apache-2.0
/** The names of all options: one row each, as in slurm/flags.c; the grammar of each value lives in its own file. */

import { SPACE_GRAMMAR } from '../site/values.js'

/** single: the last one wins. list: repeats add up. flag: yes or no, with a --no- form or an opposite. */
type Kind = 'single' | 'list' | 'flag'

interface Row {
  kind: Kind
  /** The environment name pyxis has for it, where pyxis has the option. */
  pyxis: boolean
  /** The variable by which a user tells enroot below pyxis the same. */
  enroot?: string
  /** The option that says the opposite; given together on one command line they are refused. */
  opposite?: string
  /** Grammar of the value that a flag may carry beside yes and no. */
  value?: string
  /** A value that shows the grammar to who got it wrong. */
  example?: string
  /** Another product's word: said in container-* options before anything else looks at it, and no BERTH_ variable. */
  dialect?: 'shifter' | 'gsi'
}

export const OPTIONS = {
  'container-image': { kind: 'single', pyxis: true, example: 'python:3.12' },
  'container-engine': { kind: 'single', pyxis: false, example: 'crun' },
  'container-engine-args': { kind: 'single', pyxis: false },
  'container-profile': { kind: 'list', pyxis: false, example: 'home,scratch' },
  'container-mounts': { kind: 'list', pyxis: true, example: '/data:/data:ro,./in:/in' },
  'container-mount-cwd': { kind: 'flag', pyxis: false, opposite: 'no-container-mount-cwd' },
  'container-mount-home': {
    kind: 'flag',
    pyxis: true,
    enroot: 'ENROOT_MOUNT_HOME',
    opposite: 'no-container-mount-home',
  },
  'container-workdir': { kind: 'single', pyxis: true, example: '/data' },
  'container-env': { kind: 'list', pyxis: true, example: 'HOME,PATH' },
  'container-name': { kind: 'single', pyxis: true, example: 'tools' },
  'container-save': { kind: 'single', pyxis: true, example: './new.sqsh' },
  'container-writable': {
    kind: 'flag',
    pyxis: true,
    enroot: 'ENROOT_ROOTFS_WRITABLE',
    opposite: 'container-readonly',
    value: `${SPACE_GRAMMAR}, or disk or memory, alone or with :SIZE`,
    example: 'disk:20G',
  },
  'container-readonly': { kind: 'flag', pyxis: true, opposite: 'container-writable' },
  'container-remap-root': {
    kind: 'flag',
    pyxis: true,
    enroot: 'ENROOT_REMAP_ROOT',
    opposite: 'no-container-remap-root',
  },
  'container-entrypoint': { kind: 'flag', pyxis: true, opposite: 'no-container-entrypoint' },
  'container-entrypoint-log': { kind: 'flag', pyxis: true },
  'container-unshare': { kind: 'list', pyxis: true, example: 'net,ipc' },
  'container-shm-size': { kind: 'single', pyxis: false, example: '8G' },
  'container-scope': { kind: 'single', pyxis: false, example: 'step' },
  'container-mpi': { kind: 'single', pyxis: false, example: 'host' },
  'container-device': { kind: 'list', pyxis: false, example: 'nvidia.com/gpu=0,/dev/fuse' },
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
