// SPDX-License-Identifier: Apache-2.0
/** runc: the OCI reference runtime. It insists on uid 0 inside; tasks get a user namespace of berth's and are themselves. */
import type { Engine, StartPlace } from './engine.js'
import { ABILITIES, KERNEL } from './native.js'
import { runtimeConfig } from './runtime_config.js'

export const runcEngine: Engine = {
  name: 'runc',
  summary: 'OCI reference runtime, the one that docker uses',
  needs: {
    binary: 'runc',
    versionPattern: /^runc version (\S+)/,
    versionMin: '1.1',
    install: 'apt install runc, or dnf install runc',
    daemon: false,
    setuid: false,
    kernel: KERNEL,
  },
  abilities: { ...ABILITIES, engineArgs: true },
  exitCodes: { 1: 'runc failed, or a hook did' },
  start: {
    command: ({ binary, args, run, work, id }) => [
      binary,
      `--root=${run}/runc`,
      ...args,
      ...['run', `--bundle=${work}`, id],
    ],
    files: (place: StartPlace) => [{ name: 'config.json', content: runtimeConfig(place, { uid: 0 }) }],
    mountPoints: ['/proc', '/sys', '/dev'],
    teardown: ({ binary, run, id }) => [[binary, `--root=${run}/runc`, 'delete', '--force', id]],
  },
}
