// SPDX-License-Identifier: Apache-2.0
/** What root reaches all the same: can users enter the installation and reach the socket, and nobody else change them. */
import { lstat, realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DIST } from '../site/dist.js'
import type { Places } from './command.js'
import type { Finding } from './doctor.js'
import { socketOf } from './places.js'

const GROUP_PASSES = 0o010
const OTHERS_PASS = 0o001
const OTHERS_READ = 0o004
const OTHERS_WRITE = 0o002
const WRITABLE_BY_OTHERS = 0o022
const STICKY = 0o1000

/** What users' processes open or run: the plugin in srun, the launcher in each task, the command. */
const USED_BY_USERS: readonly (readonly [part: string, bits: number])[] = [
  ['berth.so', OTHERS_READ],
  ['berth-exec', OTHERS_READ | OTHERS_PASS],
  ['node', OTHERS_READ | OTHERS_PASS],
  ['bin/berth.js', OTHERS_READ],
]

export async function checkReach(places: Places): Promise<Finding[]> {
  return [...(await checkInstallation(DIST)), ...(await checkSocket(places))]
}

/** @param dist for tests */
export async function checkInstallation(dist: string): Promise<Finding[]> {
  const check = 'installation'
  const node = await realpath(join(dist, 'node')).catch(() => dist)
  // Importers run it without root's rights, and often it lies in a home directory (nvm).
  const directories = [...new Set([...upFrom(dist), ...upFrom(dirname(node))])]
  const findings = (await Promise.all(directories.map(checkDirectory))).flat()
  for (const [part, bits] of USED_BY_USERS) {
    const path = join(dist, part)
    const { mode = bits } = (await stat(path).catch(() => undefined)) ?? {}
    if ((mode & bits) !== bits)
      findings.push({ check, state: 'fail', found: `users cannot use ${path}`, fix: `chmod go+rX ${path}` })
  }
  return findings.length > 0
    ? findings
    : [{ check, state: 'ok', found: 'for all to use, for root to change' }]
}

function upFrom(path: string): string[] {
  return path === dirname(path) ? [path] : [path, ...upFrom(dirname(path))]
}

async function checkDirectory(path: string): Promise<Finding[]> {
  const check = 'installation'
  const findings: Finding[] = []
  const { uid, mode } = await stat(path)
  const place = `${path} (mode ${(mode & 0o777).toString(8)})`
  const fix = `chmod go+rx ${path}, or install it elsewhere`
  if ((mode & OTHERS_PASS) === 0 && (mode & GROUP_PASSES) === 0)
    findings.push({ check, state: 'fail', found: `users and importers cannot enter ${place}`, fix })
  else if ((mode & OTHERS_PASS) === 0)
    findings.push({ check, state: 'warn', found: `users outside of its group cannot enter ${place}`, fix })
  if (uid !== 0 || ((mode & WRITABLE_BY_OTHERS) !== 0 && (mode & STICKY) === 0))
    findings.push({
      check,
      state: 'warn',
      found: `others than root can change ${path}, and root runs what is below it`,
      fix: `install below directories of root, such as /opt; here: chown root ${path}; chmod go-w ${path}`,
    })
  return findings
}

/** Launchers and `berth` connect with the rights of their users. Nothing where no worker was yet. */
async function checkSocket(places: Places): Promise<Finding[]> {
  const check = 'socket'
  const socket = socketOf(places)
  const directory = await stat(places.runtimeDir).catch(() => undefined)
  if (directory === undefined) return []
  if ((directory.mode & OTHERS_PASS) === 0) {
    const found = `users cannot enter ${places.runtimeDir}: their steps do not reach the worker`
    return [{ check, state: 'fail', found, fix: `chmod go+rx ${places.runtimeDir}` }]
  }
  const there = await lstat(socket).catch(() => undefined)
  if (there === undefined || (there.mode & OTHERS_WRITE) !== 0) return []
  return [{ check, state: 'fail', found: `users cannot connect to ${socket}`, fix: `chmod 666 ${socket}` }]
}
