// SPDX-License-Identifier: Apache-2.0
/** Stand-ins for engines that Debian has not, as a node finds them: before its own programs, some of them setuid root. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { must } from '../cluster/command.js'
import { USER_A } from '../cluster/users.js'
import { APPTAINER_DIR } from './engines.js'

const SCRIPTS = join(import.meta.dirname, 'standins')
/** Those that are setuid root, for one user, while this runs; others may put files there too. */
export const SETUID_STANDINS = `/var/tmp/berth-standins-${process.pid}`
export const ENGINE_PATH =
  process.env.ENGINE_PATH ??
  `${SETUID_STANDINS}:${APPTAINER_DIR}:${SCRIPTS}:/usr/local/bin:/usr/sbin:/usr/bin:/bin`

export async function installStandins(): Promise<void> {
  mkdirSync(SETUID_STANDINS, { mode: 0o755 })
  const store = join(SETUID_STANDINS, 'store')
  await must(['install', '-d', '-o', USER_A.name, store])
  for (const name of ['shifter', 'sarus']) {
    const program = join(SETUID_STANDINS, name)
    const given = [`-DUSER=${USER_A.uid}`, `-DSTORE="${store}"`]
    await must(['cc', '-Wall', ...given, '-o', program, join(SCRIPTS, `${name}.c`)])
    chmodSync(program, 0o4755)
  }
}

export function removeStandins(): void {
  rmSync(SETUID_STANDINS, { recursive: true, force: true })
}
