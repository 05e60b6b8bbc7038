// SPDX-License-Identifier: Apache-2.0
/** Apptainer and SingularityCE, one family with one command line; who it is, its version says. */
import type { Engine } from './engine.js'
import { ABILITIES, KERNEL } from './native.js'

interface Member {
  name: string
  summary: string
  /** Of its version: a link of that name may lead to the other. */
  versionPattern: RegExp
  versionMin: string
  install: string
  /** Of its environment variables. */
  prefix: string
}

export const apptainerEngine = member({
  name: 'apptainer',
  summary:
    "the Linux Foundation's engine, run without a setuid program, with the bind paths of apptainer.conf",
  versionPattern: /^apptainer version (\d+(?:\.\d+)+)/,
  versionMin: '1.1',
  install: 'apt install apptainer where Debian has it, or dnf install apptainer from EPEL',
  prefix: 'APPTAINER',
})

export const singularityEngine = member({
  name: 'singularity',
  summary: 'SingularityCE, in its native mode, with the bind paths of singularity.conf',
  versionPattern: /^singularity-ce version (\d+(?:\.\d+)+)/,
  versionMin: '3.10',
  install: "Sylabs' package singularity-ce",
  prefix: 'SINGULARITY',
})

function member({ name, summary, prefix, versionPattern, versionMin, install }: Member): Engine {
  return {
    name,
    summary,
    needs: {
      ...{ binary: name, versionPattern, versionMin, install },
      ...{ daemon: false, setuid: false, kernel: KERNEL },
    },
    abilities: { ...ABILITIES, engineArgs: true },
    exitCodes: { 255: `${name} failed` },
    start: {
      // Not --writable-tmpfs: what is written must reach the prepared root, where it can be kept and saved.
      command: ({ binary, args, root, hold }) => [
        ...[binary, '--silent', 'exec', '--userns', '--writable', '--no-eval'],
        ...['--no-mount=home,cwd,tmp', '--pwd=/'],
        ...args,
        ...[root, ...hold],
      ],
      environment: ({ run }) => ({
        [`${prefix}_CACHEDIR`]: `${run}/cache`,
        [`${prefix}_CONFIGDIR`]: `${run}/config`,
        [`${prefix}_TMPDIR`]: run,
      }),
      mountPoints: ['/proc', '/sys', '/dev', '/tmp', '/var/tmp', '/etc'],
      ownVariables: ['APPTAINER_*', 'SINGULARITY_*', 'PS1', 'PROMPT_COMMAND', 'USER_PATH', 'LD_LIBRARY_PATH'],
    },
  }
}
