// SPDX-License-Identifier: Apache-2.0
/** What a run may leave behind on a machine: mounts, loop devices, cgroups, processes, System V segments. */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join, resolve } from 'node:path'

export type Machine = Record<'mounts' | 'loops' | 'cgroups' | 'processes' | 'directories', string[]>

/** Names of programs that only this suite starts. */
const OURS =
  /^(slurmctld|slurmd|slurmstepd|munged|docker-registry|srun|sbatch|salloc|berth|node-worker|squashfuse)/

/** Made by slurmd, by its steps or by the worker; others come and go with whoever else is on the machine. */
const OUR_CGROUPS = /slurm|berth|\/(job|step|task|uid)_/
const DIST = resolve(import.meta.dirname, '../../dist')

export function lookAtMachine(): Machine {
  return {
    mounts: mounts(),
    loops: loops(),
    cgroups: cgroups('/sys/fs/cgroup'),
    processes: processes(),
    directories: ['/tmp', '/var/tmp'].flatMap((base) =>
      readdirSync(base)
        .filter((name) => /^berth-(cluster|registry)-/.test(name))
        .map((name) => `${base}/${name}`),
    ),
  }
}

/**
 * Removes the cgroups of nodes, users and jobs that `before` has not and that are empty: Slurm 22.05 (cgroup version 1)
 * leaves the one of the node for its next job, and those of users and jobs where two steps of a job end at once. One of a
 * step is a leak.
 */
export function removeEmptyCgroups(before: Machine): void {
  for (const path of cgroups('/sys/fs/cgroup').reverse()) {
    if (!/\/slurm_n\d+(\/uid_\d+(\/job_\d+)?)?$/.test(path) || before.cgroups.includes(path)) continue
    try {
      rmdirSync(path)
    } catch {
      // Not empty: what keeps it is the leak that is told.
    }
  }
}

/** What `after` has and `before` has not. */
export function difference(before: Machine, after: Machine): string[] {
  return (Object.keys(after) as (keyof Machine)[]).flatMap((kind) => {
    const known = new Set(before[kind])
    return after[kind].filter((entry) => !known.has(entry)).map((entry) => `${kind}: ${entry}`)
  })
}

function mounts(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const words = line.split(' ')
      return `${words[4]} ${line.split(' - ')[1]}`
    })
}

function loops(): string[] {
  const seen = execFileSync('losetup', ['-l', '-n', '-O', 'NAME,BACK-FILE'], { encoding: 'utf8' })
  return seen.split('\n').filter((line) => line.trim() !== '')
}

function cgroups(folder: string): string[] {
  if (!existsSync(folder)) return []
  const found: string[] = []
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue
    const path = join(folder, entry.name)
    if (OUR_CGROUPS.test(path)) found.push(path)
    found.push(...cgroups(path))
  }
  return found
}

/** `name pid starttime` of every process that is ours by name, by command line or by user. */
function processes(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
        const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
        const rest = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        if (rest[0] === 'Z') return []
        const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')
        const uid = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
        const ours = OURS.test(name) || command.includes(DIST) || (uid > 61_200 && uid < 61_210)
        return ours ? [`${name} ${pid} ${rest[19]}`] : []
      } catch {
        return []
      }
    })
}
