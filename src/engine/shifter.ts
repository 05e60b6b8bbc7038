// SPDX-License-Identifier: Apache-2.0
/** NERSC's shifter: a setuid program that builds a root of its own, so the prepared one is a directory of it. */
import { basename, dirname } from 'node:path'
import type { Engine } from './engine.js'
import { ABILITIES, KERNEL } from './native.js'

/** The image is the view's directory, whose directories shifter binds into its root by their names. */
const ROOT_INSIDE = '/root'

export const shifterEngine: Engine = {
  name: 'shifter',
  summary: "NERSC's setuid program, with the variables and hooks of its modules",
  needs: {
    binary: 'shifter',
    // It has no word for its version: --help ends well and says its name.
    versionWords: ['--help'],
    versionPattern: /(shifter)/i,
    install: "NERSC's sources, with allowLocalChroot=1 in udiRoot.conf",
    daemon: false,
    setuid: true,
    kernel: KERNEL,
  },
  abilities: { ...ABILITIES, engineArgs: true },
  exitCodes: { 1: 'shifter failed, or a module', 127: 'the holder could not be run' },
  start: {
    command: ({ binary, args, root, hold: [program = '', ...words] }) => [
      ...[binary, `--image=local:${dirname(root)}`, '--workdir=/'],
      ...args,
      ...[`/${basename(root)}${program}`, ...words],
    ],
    mountPoints: [],
    rootInside: ROOT_INSIDE,
    ownVariables: ['SHIFTER*'],
  },
}
