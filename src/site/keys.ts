// SPDX-License-Identifier: Apache-2.0
/** Every key of berth.conf and of the plugstack line, from three tables: docs/config.md is generated from it. */
import { IMAGE_KEYS } from './image_keys.js'
import type { KeyRow } from './key_row.js'
import { STEP_KEYS } from './step_keys.js'

export const KEYS = {
  runtime_dir: {
    type: 'path',
    default: '/run/berth',
    lineOnly: true,
    help: 'directory for the socket, pid files and leases of running steps (plugstack line only, and the units of systemd); if it is not the default, steps on the host get it as BERTH_RUNTIME_DIR, so that `berth ps` finds the worker',
  },
  store: { type: 'path', default: '/var/lib/berth', help: 'converted images of this node' },
  config: {
    type: 'path',
    default: '/etc/berth/berth.conf',
    lineOnly: true,
    help: 'the configuration file (plugstack line only); conf.d/*.conf beside it are read after it, in order of name',
  },
  importer_user: {
    type: 'name',
    default: '',
    help: 'account that talks to registries; empty: berth if it exists, otherwise nobody',
  },
  idle_exit: {
    type: 'seconds',
    default: '600',
    help: 'the worker exits after this time without steps; 0: never',
  },
  log_level: {
    type: ['error', 'warn', 'info', 'debug'],
    default: 'info',
    help: "level of detail of the worker's log",
  },

  ...IMAGE_KEYS,
  ...STEP_KEYS,

  node: {
    type: 'text',
    default: '',
    lineOnly: true,
    help: 'Node.js that runs the worker (plugstack line only); empty: the one that built berth',
  },
  sbatch: {
    type: 'boolean',
    default: 'yes',
    lineOnly: true,
    help: 'whether sbatch and salloc have the options too (plugstack line only)',
  },
  shifter_flags: {
    type: ['no', 'short', 'long'],
    default: 'no',
    lineOnly: true,
    help: "Shifter's options; short: as --image, --volume, --module, long: as --shifter.image, ... (plugstack line only)",
  },
  gsi_flags: {
    type: 'boolean',
    default: 'no',
    lineOnly: true,
    help: "options and variables of GSI's slurm-singularity-exec (plugstack line only)",
  },
} as const satisfies Record<string, KeyRow>

export type Key = keyof typeof KEYS

/** Plugstack arguments of pyxis 0.24, so that its line can be kept. */
export const PYXIS_KEYS: Readonly<Record<string, { as?: Key; note: string }>> = {
  execute_entrypoint: { as: 'container_entrypoint', note: 'same as container_entrypoint' },
  sbatch_support: { as: 'sbatch', note: 'same as sbatch' },
  runtime_path: { note: 'has no meaning here: see runtime_dir' },
  use_enroot_load: { note: 'has no meaning here: images are never unpacked' },
  use_squashfuse: { note: 'has no meaning here: images are mounted by the kernel' },
}

export function keyRow(key: Key): KeyRow {
  return KEYS[key]
}

export function isKey(name: string): name is Key {
  return Object.hasOwn(KEYS, name)
}
