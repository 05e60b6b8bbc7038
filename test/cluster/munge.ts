// SPDX-License-Identifier: Apache-2.0
/** munged with a key and socket of its own, as slurm.conf's AuthInfo names it. */
import { randomBytes } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from './command.js'
import { startDaemon } from './daemon.js'
import type { Undo } from './undo.js'

/** Munge's default is one thread per CPU pair; two nodes with eight tasks each want some more. */
const MUNGE_THREADS = 4

/** In the directory munge/ of `dir`, which must exist. */
export async function startMunge(dir: string, undo: Undo, outlive: boolean): Promise<void> {
  const at = join(dir, 'munge')
  // munged insists on a key that nobody else can read and on a directory that only root can write.
  writeFileSync(join(at, 'key'), randomBytes(128), { mode: 0o600 })
  const files = ['key', 'socket', 'pid', 'seed', 'log'].map((name) => `--${name}-file=${join(at, name)}`)
  const argv = ['munged', '--foreground', `--num-threads=${MUNGE_THREADS}`, ...files]
  const munged = startDaemon(
    'munged',
    argv.map((word) => word.replace('--socket-file=', '--socket=')),
    join(at, 'out'),
    { outlive },
  )
  undo.push('munged', () => munged.stop())
  await until('munge socket', () => existsSync(join(at, 'socket')))
}
