// SPDX-License-Identifier: Apache-2.0
/** Shows commands and what they print, as on a user's terminal. */

import { spawn } from 'node:child_process'
import { chownSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../cluster/cluster.js'
import { stillHere } from '../cluster/undo.js'
import { USER_A } from '../cluster/users.js'

/** The longest command takes seconds, minutes on a slow line to a mirror; one that hangs fails the demo. */
const COMMAND_MS_MAX = 300_000

export interface Terminal {
  /** Commands so far that did not end as expected. */
  readonly failures: number
  type(command: string, expectation?: 'works' | 'fails'): Promise<void>
  note(text: string): void
  /** A file of the user's in the working directory, shown with its content. */
  write(name: string, content: string): Promise<void>
}

export function makeTerminal(cluster: Cluster): Terminal {
  let failures = 0
  const show = (text: string): void => void process.stdout.write(text)
  return {
    get failures() {
      return failures
    },
    note: (text) => show(`# ${text}\n`),
    write: async (name, content) => {
      const path = join(cluster.shared, name)
      writeFileSync(path, content, { mode: 0o755 })
      chownSync(path, USER_A.uid, USER_A.uid)
      show(`$ cat ${name}\n${content}`)
    },
    type: async (command, expectation = 'works') => {
      await stillHere()
      show(`$ ${command}\n`)
      const code = await runAsUser(cluster, command)
      if ((code === 0) === (expectation === 'works')) {
        if (code !== 0) show(`(exit ${code})\n`)
      } else {
        failures += 1
        show(`(exit ${code}, which was not expected)\n`)
      }
      show('\n')
    },
  }
}

function runAsUser(cluster: Cluster, command: string): Promise<number> {
  const { name } = USER_A
  const shell = ['bash', '-o', 'pipefail', '-c', command]
  const child = spawn('setpriv', [`--reuid=${name}`, `--regid=${name}`, '--init-groups', '--', ...shell], {
    cwd: cluster.shared,
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: COMMAND_MS_MAX,
    env: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      HOME: `/home/${name}`,
      USER: name,
      LANG: 'C.UTF-8',
      TERM: process.env.TERM ?? 'dumb',
      SLURM_CONF: cluster.conf,
    },
  })
  return new Promise((resolve) => child.on('close', (code) => resolve(code ?? 128)))
}
