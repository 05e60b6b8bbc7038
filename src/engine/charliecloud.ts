// SPDX-License-Identifier: Apache-2.0
/** Charliecloud's ch-run: user and mount namespaces, nothing more. */
import type { Engine } from './engine.js'
import { ABILITIES, KERNEL } from './native.js'

export const charliecloudEngine: Engine = {
  name: 'charliecloud',
  summary: 'user and mount namespaces by ch-run, no setuid program, no daemon',
  needs: {
    binary: 'ch-run',
    versionPattern: /^(\d\S*)/,
    versionMin: '0.31',
    install: 'apt install charliecloud, or build it from its sources',
    daemon: false,
    setuid: false,
    kernel: KERNEL,
  },
  abilities: { ...ABILITIES, engineArgs: true },
  exitCodes: {
    1: 'ch-run failed',
    31: 'ch-run failed',
    49: 'the holder could not be run in the image',
  },
  start: {
    command: ({ binary, args, root, hold }) => [
      binary,
      ...['--write', '--no-passwd', '--private-tmp'],
      ...args,
      ...[root, '--', ...hold],
    ],
    mountPoints: ['/proc', '/sys', '/dev', '/tmp', '/etc', '/home', '/root', '/mnt', '/usr', '/bin'],
    ownVariables: ['CH_RUNNING'],
  },
}
