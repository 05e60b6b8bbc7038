// SPDX-License-Identifier: Apache-2.0
/**
 * What a warm container costs: bare srun, berth, and the same program under other tools started by hand, in
 * interleaved rounds. Prints medians in ms, the difference to bare, and its ratio to berth's.
 */
import { type Cluster, startCluster } from '../cluster/cluster.js'
import { publishImages } from '../cluster/images.js'
import { startRegistry } from '../cluster/registry.js'
import { median } from '../demo/start_time.js'
import { type Contender, findContenders } from './start_contenders.js'
import { countExecs } from './start_execs.js'
import { measureMemory } from './start_memory.js'

/** Odd, so that the median is a measured value; enough that a stray slow run does not move it. */
const ROUNDS = 15
const TASKS = [1, 8]

async function timeOnce(cluster: Cluster, tasks: number, contender: Contender): Promise<number> {
  const args = ['-N1', '-w', 'n1', `-n${tasks}`, ...contender.flags, ...contender.prefix, '/bin/true']
  const outcome = await cluster.srun(args)
  if (outcome.code !== 0) throw new Error(`${contender.name}: ${outcome.output}`)
  return outcome.milliseconds
}

async function timeAll(cluster: Cluster, contenders: readonly Contender[], tasks: number): Promise<void> {
  const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  for (const contender of contenders) await timeOnce(cluster, tasks, contender)
  for (let round = 0; round < ROUNDS; round++) {
    for (const contender of contenders)
      times.get(contender.name)?.push(await timeOnce(cluster, tasks, contender))
  }
  const bare = median(times.get('bare srun') ?? [])
  const berth = median(times.get('berth') ?? []) - bare
  print(`\n${tasks} task${tasks === 1 ? '' : 's'}, medians of ${ROUNDS} interleaved rounds`)
  print('                        ms   over bare   times berth')
  for (const { name } of contenders) {
    const value = median(times.get(name) ?? [])
    const over = value - bare
    const ratio = name === 'bare srun' ? '' : (over / berth).toFixed(1)
    print(
      `${name.padEnd(20)}${value.toFixed(1).padStart(6)}${over.toFixed(1).padStart(12)}${ratio.padStart(14)}`,
    )
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

const cluster = await startCluster()
const registry = await startRegistry(cluster.undo)
const images = await publishImages(registry)
const flags = [`--container-image=${images.debian}`]
const contenders: Contender[] = [
  { name: 'bare srun', flags: [], prefix: [] },
  { name: 'berth', flags, prefix: [] },
  { name: 'berth, writable', flags: [...flags, '--container-writable'], prefix: [] },
  { name: 'berth, as root', flags: [...flags, '--container-remap-root'], prefix: [] },
  { name: 'berth, own pids', flags: [...flags, '--container-unshare=pid'], prefix: [] },
  ...(await findContenders(cluster)),
]
for (const tasks of TASKS) await timeAll(cluster, contenders, tasks)
print(`\n${await countExecs(cluster, flags)}`)
print(`\n${await measureMemory(cluster, registry)}`)
await cluster.stop()
