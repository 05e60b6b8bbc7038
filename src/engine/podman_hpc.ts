// SPDX-License-Identifier: Apache-2.0
/** NERSC's wrapper around podman: its modules (--gpu, --mpi, …) come by --container-engine-args; its images are not used. */
import type { Engine } from './engine.js'
import { HOST_LIKE, podmanEngine } from './podman.js'

export const podmanHpcEngine: Engine = {
  ...podmanEngine,
  name: 'podman-hpc',
  summary: "NERSC's wrapper of podman, with the site's modules",
  needs: {
    ...podmanEngine.needs,
    binary: 'podman-hpc',
    versionPattern: /(\d+(?:\.\d+)+)/,
    versionMin: '1.1',
    helpers: ['podman', 'conmon'],
    install: 'pip install podman-hpc, with its own mksquashfs and fuse-overlayfs-wrap',
  },
  start: {
    ...podmanEngine.start,
    // It names podman's stores itself, from its settings: those of the environment win.
    command: ({ args, root, hold, id, binary }) => [
      ...[binary, 'run', `--name=${id}`, ...HOST_LIKE],
      ...args,
      ...['--rootfs', root, ...hold],
    ],
    environment: ({ run }) => ({
      ...{ TMPDIR: run, SQUASH_DIR: `${run}/squash` },
      ...{ PODMANHPC_GRAPH_ROOT: `${run}/storage`, PODMANHPC_RUN_ROOT: `${run}/c` },
    }),
    mountPoints: podmanEngine.start?.mountPoints ?? [],
    teardown: ({ binary, id }) => [[binary, 'rm', '--force', '--time=0', '--ignore', id]],
    ownVariables: ['PODMANHPC_*', 'ENABLE_*'],
  },
}
