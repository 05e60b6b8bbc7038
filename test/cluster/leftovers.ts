// SPDX-License-Identifier: Apache-2.0
/** What still refers to a directory: processes, mounts in any namespace, loop devices. */
import { readdirSync, readlinkSync } from 'node:fs'
import { until } from './command.js'
import { readOr } from './daemon.js'

const SETTLE_MS_MAX = 20_000

/** One line each; empty when nothing is left. */
export function leftovers(dir: string): string[] {
  return [
    ...loopDevices(dir),
    ...mountsOf('self', dir),
    ...processesOf(dir),
    ...stepDaemons(dir).map((pid) => `process ${pid} slurmstepd`),
  ]
}

/** The same once all has had its time: the kernel frees loop devices a moment after the last process ended. */
export async function leftForGood(dir: string): Promise<string[]> {
  await until('nothing left', () => leftovers(dir).length === 0, SETTLE_MS_MAX).catch(() => {})
  return leftovers(dir)
}

/** Loop devices whose backing file lies in `dir`. */
export function loopDevices(dir: string): string[] {
  return readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .flatMap((name) => {
      const file = readOr(`/sys/block/${name}/loop/backing_file`).trim()
      return file.startsWith(dir) ? [`loop device ${name} of ${file}`] : []
    })
}

/** Mounts below `dir`, or made from something below it, in the mount namespace of `pid`. */
export function mountsOf(pid: number | 'self', dir: string): string[] {
  return readOr(`/proc/${pid}/mountinfo`)
    .split('\n')
    .filter((line) => line.includes(dir))
    .map((line) => `mount ${line}`)
}

/** Processes that name `dir` on their command line or work in it. */
export function processesOf(dir: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      const command = readOr(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim()
      return command.includes(dir) || linkOr(`/proc/${pid}/cwd`).startsWith(dir)
        ? [`process ${pid} ${command}`]
        : []
    })
}

/** Importers that the worker of this pid has started and that still run. */
export function importersOf(worker: number | undefined): number[] {
  return childrenOf(worker, 'importer.js')
}

/** Those that have this word on their command line. */
export function childrenOf(parent: number | undefined, word: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && readOr(`/proc/${name}/cmdline`).includes(word))
    .filter((name) => Number(/^PPid:\s+(\d+)/m.exec(readOr(`/proc/${name}/status`))?.[1]) === parent)
    .map(Number)
}

/** slurmstepd processes of the cluster below `dir`; each knows its slurm.conf from slurmd. */
export function stepDaemons(dir: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && readOr(`/proc/${name}/comm`).trim() === 'slurmstepd')
    .filter((name) => readOr(`/proc/${name}/environ`).includes(`SLURM_CONF=${dir}/`))
    .map(Number)
}

function linkOr(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
