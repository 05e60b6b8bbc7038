// SPDX-License-Identifier: Apache-2.0
/** What a cluster's steps and their engines have running on this machine. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../cluster/cluster.js'
import { until } from '../cluster/command.js'
import { processAlive, readOr } from '../cluster/daemon.js'

/** Programs of the cluster itself, and of docker, which stay when a step ends. */
const STAYING = /slurm|node|munge|registry|keeper|scancel|srun|docker|containerd/

/** What runs in this cluster's steps and around its engines: both have its directory in their environment. */
export function ownProcesses({ dir }: Cluster): string[] {
  return pids().filter(
    (pid) => readOr(`/proc/${pid}/environ`).includes(`${dir}/`) && !STAYING.test(readOr(`/proc/${pid}/comm`)),
  )
}

/** Programs that engines hold containers with. */
export function holders(cluster: Cluster): string[] {
  const isShim = (pid: string) =>
    /^containerd-shim/.test(readOr(`/proc/${pid}/comm`)) &&
    readOr(`/proc/${pid}/cmdline`).includes(`${cluster.dir}/`)
  // berth-tend has no environment, and not every engine hands its own on.
  const workers = cluster.nodes.map((node) => String(node.workerPid()))
  const own = new Set([...ownProcesses(cluster), ...pids().filter(isShim), ...workers])
  const isBelow = (pid: string): boolean => pid !== '0' && (own.has(pid) || isBelow(parentOf(pid)))
  return pids().filter((pid) => programOf(pid).includes('/.berth-hold') && isBelow(pid))
}

/** Slurm's own children: what its tasks have become. */
export function tasks(cluster: Cluster): number[] {
  return ownProcesses(cluster)
    .filter((pid) => /^slurmstepd/.test(readOr(`/proc/${parentOf(pid)}/comm`)))
    .map(Number)
}

/** Waits for the end of all of a step, and of these holders of its engine. */
export async function leavesNothing(
  cluster: Cluster,
  engine: string,
  held: readonly string[],
): Promise<void> {
  await until(`the end of all of ${engine}`, () => ownProcesses(cluster).length === 0)
  await until('the end of what held it', () => held.every((pid) => !processAlive(Number(pid))))
  // The worker clears up when slurmstepd lets go of the step, which is after its last process.
  const staged = () => cluster.nodes.flatMap((node) => readdirSync(join(node.runtimeDir, 'staging')))
  await until(`nothing staged for ${engine}`, () => staged().length === 0)
}

function parentOf(pid: string): string {
  return /^PPid:\s+(\d+)/m.exec(readOr(`/proc/${pid}/status`))?.[1] ?? '0'
}

function programOf(pid: string): string {
  return readOr(`/proc/${pid}/cmdline`).split('\0')[0] ?? ''
}

function pids(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name))
}
