// SPDX-License-Identifier: Apache-2.0
/** crun: an OCI runtime in C, which podman uses; runs rootless with nothing but a config.json. */
import type { Engine, StartPlace } from './engine.js'
import { ABILITIES, KERNEL } from './native.js'
import { runtimeConfig } from './runtime_config.js'

export const crunEngine: Engine = {
  name: 'crun',
  summary: 'OCI runtime in C, the one that podman uses',
  needs: {
    binary: 'crun',
    versionPattern: /^crun version (\S+)/,
    versionMin: '1.8',
    install: 'apt install crun, or dnf install crun',
    daemon: false,
    setuid: false,
    kernel: KERNEL,
  },
  abilities: { ...ABILITIES, engineArgs: true },
  exitCodes: { 1: 'crun failed, or a hook did' },
  start: {
    command: ({ binary, args, run, work, id }) => [
      binary,
      ...['--cgroup-manager=disabled', `--root=${run}/crun`],
      ...args,
      ...['run', `--bundle=${work}`, id],
    ],
    files: (place: StartPlace) => [
      { name: 'config.json', content: runtimeConfig(place, { uid: place.plan.process.user.uid }) },
    ],
    // Versions before 1.9 refuse hosts with both cgroup hierarchies, also when they are told to use none.
    hidden: ['/sys/fs/cgroup'],
    mountPoints: ['/proc', '/sys', '/dev'],
    teardown: ({ binary, run, id }) => [
      [binary, '--cgroup-manager=disabled', `--root=${run}/crun`, 'delete', '--force', id],
    ],
  },
}
