// SPDX-License-Identifier: Apache-2.0
/** Resident memory of each part, looked at while an import is held in the middle and again when idle. */
import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster, Node } from '../cluster/cluster.js'
import { until } from '../cluster/command.js'
import { writeLayout } from '../cluster/layout.js'
import type { Registry } from '../cluster/registry.js'
import { makeTar } from '../cluster/tar.js'
import { startThrottle } from '../cluster/throttle.js'

/** Noise, so that it compresses to about its own size and fills the pipeline. */
const LAYER_BYTES = 64 << 20

export async function measureMemory(cluster: Cluster, registry: Registry): Promise<string> {
  const node = cluster.nodes[0] as Node
  const throttle = await startThrottle(registry.host, cluster.undo)
  const dir = join(cluster.dir, 'memory-layout')
  const program = { name: 'true', mode: 0o755, content: readFileSync('/bin/busybox') }
  writeLayout(dir, { layers: [makeTar([program, { name: 'noise', content: randomBytes(LAYER_BYTES) }])] })
  await registry.push(dir, 'memory:1')
  const args = ['-n1', '-w', node.name, `--container-image=${throttle.host}/memory:1`, '/true']
  const step = cluster.start(['srun', ...args])
  await until('a held transfer', () => throttle.held() > 0)
  const launcher = find(/berth-exec/)
  const stepd = parentOf(launcher)
  const lines = [
    `launcher, waiting: ${kib(resident(launcher))}`,
    `shim in slurmstepd: ${kib(residentOf(stepd, 'berth.so'))}`,
  ]
  throttle.open()
  const peak = await watchPeak(node, step.done)
  lines.push(`worker and importer, most while importing ${LAYER_BYTES >> 20} MB: ${kib(peak)}`)
  lines.push(`worker, idle: ${kib(resident(node.workerPid()))}`)
  return lines.join('\n')
}

/** Sum of what worker and importer have resident, the largest seen. */
async function watchPeak(node: Node, done: Promise<unknown>): Promise<number> {
  let ended = false
  void done.finally(() => {
    ended = true
  })
  let peak = 0
  while (!ended) {
    peak = Math.max(peak, resident(node.workerPid()) + resident(find(/bin\/importer/)))
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await done
  return peak
}

function kib(value: number): string {
  return value === 0 ? 'not seen' : `${value} KiB`
}

function find(pattern: RegExp): number | undefined {
  const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && pattern.test(commandLine(name)))
  return pid === undefined ? undefined : Number(pid)
}

function parentOf(pid: number | undefined): number | undefined {
  const parent = /^PPid:\s+(\d+)/m.exec(
    pid === undefined ? '' : readFileSync(`/proc/${pid}/status`, 'utf8'),
  )?.[1]
  return parent === undefined ? undefined : Number(parent)
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

function resident(pid: number | undefined): number {
  try {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** Resident KiB of the mappings of one file. */
function residentOf(pid: number | undefined, file: string): number {
  try {
    const parts = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    const sizes = parts
      .filter((part) => part.split('\n')[0]?.includes(file))
      .map((part) => Number(/^Rss:\s+(\d+)/m.exec(part)?.[1] ?? 0))
    return sizes.reduce((total, size) => total + size, 0)
  } catch {
    return 0
  }
}
