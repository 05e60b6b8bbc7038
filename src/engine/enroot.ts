// SPDX-License-Identifier: Apache-2.0
/** NVIDIA's enroot: its hooks, mounts.d and environ.d of the site and of the user do their work in berth's root. */
import { basename, dirname } from 'node:path'
import type { Engine } from './engine.js'
import { ABILITIES, KERNEL } from './native.js'

/** Instead of an image's own /etc/rc, which would start its entrypoint. */
const RC = 'exec "$@"\n'

export const enrootEngine: Engine = {
  name: 'enroot',
  summary: 'shell scripts around user and mount namespaces, with hooks.d, mounts.d and environ.d',
  needs: {
    binary: 'enroot',
    versionWords: ['version'],
    versionPattern: /^(\d+(?:\.\d+)+)/,
    versionMin: '3.4',
    install: "NVIDIA's packages enroot and enroot+caps",
    daemon: false,
    setuid: false,
    kernel: KERNEL,
  },
  abilities: { ...ABILITIES, engineArgs: true },
  exitCodes: { 1: 'enroot failed, or a hook did', 127: 'the image has no shell' },
  start: {
    // It takes no directory by its path, only by its name in ENROOT_DATA_PATH.
    command: ({ binary, args, root, work, hold }) => [
      ...[binary, 'start', '--rw', '--rc', `${work}/rc`],
      ...args,
      ...[basename(root), ...hold],
    ],
    files: () => [{ name: 'rc', content: RC }],
    environment: ({ root, run }) => ({
      ...{ ENROOT_DATA_PATH: dirname(root), ENROOT_RUNTIME_PATH: `${run}/enroot` },
      ...{ ENROOT_CACHE_PATH: `${run}/cache`, ENROOT_TEMP_PATH: run },
      ...{ ENROOT_LOGIN_SHELL: 'no', ENROOT_REMAP_ROOT: 'no' },
    }),
    mountPoints: ['/proc', '/sys', '/dev', '/run', '/tmp', '/etc'],
    ownVariables: ['ENROOT_*', 'SHELL'],
  },
}
