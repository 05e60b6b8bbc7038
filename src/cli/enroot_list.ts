// SPDX-License-Identifier: Apache-2.0
/** `enroot list -f`: one line for each first process, from its /proc. */
import { readFileSync, readlinkSync } from 'node:fs'
import { columns } from './columns.js'
import type { Listed } from './enroot_names.js'

const HEADER = ['NAME', 'PID', 'COMM', 'STATE', 'STARTED', 'TIME', 'MNTNS', 'USERNS', 'COMMAND']
/** USER_HZ of every architecture berth runs on (proc(5)). */
const TICKS_PER_SECOND = 100

export function showTable(rows: readonly Listed[]): string {
  const cells = rows.flatMap(({ name, pids }) => {
    const lines = pids.map((pid) => [name, ...processCells(pid)])
    return lines.length === 0 ? [[name]] : lines
  })
  return columns(HEADER, cells)
}

function processCells(pid: number): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const comm = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const boot = Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'latin1'))?.[1] ?? 0)
    const started = new Date((boot + Number(fields[19]) / TICKS_PER_SECOND) * 1000)
    const seconds = Math.floor((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND)
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim()
    return [
      String(pid),
      comm,
      fields[0] ?? '?',
      started.toTimeString().slice(0, 5),
      `${String(Math.floor(seconds / 60)).padStart(2, '0')}:${String(seconds % 60).padStart(2, '0')}`,
      namespaceOf(pid, 'mnt') ?? '-',
      namespaceOf(pid, 'user') ?? '-',
      command,
    ]
  } catch {
    return [String(pid)]
  }
}

/** The namespace's number; not dumpable processes show theirs to nobody but root. */
export function namespaceOf(pid: number, name: string): string | undefined {
  try {
    return /\d+/.exec(readlinkSync(`/proc/${pid}/ns/${name}`))?.[0]
  } catch {
    return undefined
  }
}
