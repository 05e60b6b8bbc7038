// SPDX-License-Identifier: Apache-2.0
/** Counts execve per step with strace on slurmd: a figure that no noise touches. */
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cluster } from '../cluster/cluster.js'
import { run, start } from '../cluster/command.js'

/** One task, with and without `flags`. */
export async function countExecs(cluster: Cluster, flags: readonly string[]): Promise<string> {
  if ((await run(['sh', '-c', 'command -v strace'])).code !== 0)
    return 'execve per step: strace is not installed'
  const bare = await traceStep(cluster, 'bare', [])
  const contained = await traceStep(cluster, 'contained', flags)
  return `execve on the node for a step of one task: bare ${bare}, contained ${contained}`
}

async function traceStep(cluster: Cluster, name: string, flags: readonly string[]): Promise<number> {
  const node = cluster.nodes[0]
  if (node === undefined) return Number.NaN
  const dir = join(cluster.dir, `trace-${name}`)
  await mkdir(dir)
  const args = ['-ff', '-qq', '-e', 'trace=execve', '-o', join(dir, 't'), '-p', String(node.pid())]
  const tracer = start(['strace', ...args])
  await new Promise((resolve) => setTimeout(resolve, 500))
  await cluster.srun(['-n1', '-w', node.name, ...flags, '/bin/true'])
  await new Promise((resolve) => setTimeout(resolve, 500))
  tracer.kill('SIGINT')
  await tracer.done
  return readdirSync(dir)
    .map((file) => readFileSync(join(dir, file), 'utf8'))
    .flatMap((text) => text.split('\n'))
    .filter((line) => line.startsWith('execve(') && / = 0$/.test(line)).length
}
