// SPDX-License-Identifier: Apache-2.0
/** For --keep: a shell script beside the cluster's state that ends what was started, in reverse order, by pid. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Node } from '../cluster/cluster.js'
import { started } from '../cluster/daemon.js'
import { USERS } from '../cluster/users.js'

/** Answers the script's path. */
export function writeStopScript(dir: string, nodes: readonly Node[], keepUsers: boolean): string {
  const path = join(dir, 'stop.sh')
  const groups = new Set(USERS.flatMap((user) => [user.name, ...user.groups.map(([name]) => name)]))
  const lines = [
    '#!/bin/bash',
    '# Ends this cluster.',
    'end() { kill "$1" 2>/dev/null; for _ in $(seq 100); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done; kill -9 "$1"; }',
    `SLURM_CONF=${dir}/slurm.conf scancel --full --state=RUNNING,PENDING 2>/dev/null`,
    'sleep 3',
    `for p in $(pgrep slurmstepd); do grep -qz '^SLURM_CONF=${dir}/' /proc/$p/environ && kill -9 $p; done`,
    ...[...started].reverse().map(({ name, pid }) => `end ${pid} # ${name}`),
    ...nodes.map(
      (node) => `[ -e ${node.runtimeDir}/keeper.pid ] && end "$(cat ${node.runtimeDir}/keeper.pid)"`,
    ),
    ...(keepUsers ? [] : USERS.map((user) => `userdel --force --remove ${user.name} 2>/dev/null`)),
    ...(keepUsers ? [] : [...groups].map((name) => `groupdel ${name} 2>/dev/null`)),
    `rm -rf ${dir} ${started.flatMap(({ directory }) => directory ?? []).join(' ')}`,
    'exit 0',
  ]
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o755 })
  return path
}
