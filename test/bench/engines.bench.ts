// SPDX-License-Identifier: Apache-2.0
/**
 * What a warm container of each engine costs under berth, beside the same engine started by hand in each task: median
 * over bare srun in ms, in interleaved rounds.
 */
import { join } from 'node:path'
import { type Cluster, startCluster } from '../cluster/cluster.js'
import { publishImages } from '../cluster/images.js'
import { startRegistry } from '../cluster/registry.js'
import { median } from '../demo/start_time.js'
import { ENGINE_CASES } from '../engine/engines.js'
import { type Contender, unpackImage } from './start_contenders.js'

/** Odd, so that the median is a measured value. */
const ROUNDS = 11
const TASKS = [1, 8]
const STANDINS = join(import.meta.dirname, '../engine/standins')
const ENGINE_PATH = `${STANDINS}:/usr/local/bin:/usr/sbin:/usr/bin:/bin`
const NAMES = ENGINE_CASES.map(({ name }) => name).join(',')

/** The same as a user would type it; `tree` is the unpacked image. Engines without a row have no way that needs no file. */
const BY_HAND: Readonly<Record<string, (tree: string) => string[]>> = {
  charliecloud: (tree) => ['ch-run', tree, '--'],
  podman: (tree) => [
    'podman',
    'run',
    '--rm',
    '--network=host',
    '--pid=host',
    '--ipc=host',
    '--rootfs',
    `${tree}:O`,
  ],
  apptainer: (tree) => ['apptainer', '-s', 'exec', '--userns', tree],
}

async function findPairs(cluster: Cluster, image: string, tree: string): Promise<Contender[]> {
  const found: Contender[] = []
  for (const { name, missing, options = [] } of ENGINE_CASES) {
    if (missing !== undefined) {
      process.stdout.write(`${name}: ${missing}\n`)
      continue
    }
    const flags = [`--container-image=${image}`, `--container-engine=${name}`, ...options]
    const begun = await cluster.srun(['-n1', '-w', 'n1', ...flags, '/bin/true'])
    if (begun.code === 0) found.push({ name: `berth ${name}`, flags, prefix: [] })
    else process.stdout.write(`berth ${name} does not start here: ${begun.output.trim().split('\n')[0]}\n`)
    const byHand = BY_HAND[name]
    if (byHand === undefined) continue
    const prefix = byHand(tree)
    const tried = await cluster.srun(['-n1', '-w', 'n1', ...prefix, '/bin/true'])
    if (tried.code === 0) found.push({ name: `${name} by hand`, flags: [], prefix })
    else process.stdout.write(`${name} by hand does not start here: ${tried.output.trim().split('\n')[0]}\n`)
  }
  return found
}

async function timeOnce(cluster: Cluster, tasks: number, contender: Contender): Promise<number> {
  const args = ['-N1', '-w', 'n1', `-n${tasks}`, ...contender.flags, ...contender.prefix, '/bin/true']
  const outcome = await cluster.srun(args)
  if (outcome.code !== 0) throw new Error(`${contender.name}: ${outcome.output}`)
  return outcome.milliseconds
}

async function timeAll(cluster: Cluster, contenders: readonly Contender[], tasks: number): Promise<void> {
  const all = [{ name: 'bare srun', flags: [], prefix: [] }, ...contenders]
  const times = new Map<string, number[]>(all.map(({ name }) => [name, []]))
  for (const contender of all) await timeOnce(cluster, tasks, contender)
  for (let round = 0; round < ROUNDS; round++)
    for (const contender of all) times.get(contender.name)?.push(await timeOnce(cluster, tasks, contender))
  const bare = median(times.get('bare srun') ?? [])
  process.stdout.write(
    `\n${tasks} tasks, medians of ${ROUNDS} interleaved rounds\n${' '.repeat(24)}ms   over bare\n`,
  )
  for (const { name } of all) {
    const value = median(times.get(name) ?? [])
    process.stdout.write(
      `${name.padEnd(20)}${value.toFixed(1).padStart(6)}${(value - bare).toFixed(1).padStart(12)}\n`,
    )
  }
}

const cluster = await startCluster({
  plugArgs: [`engine_path=${ENGINE_PATH}`, 'engine_args=allow', `engines=${NAMES}`],
})
const registry = await startRegistry(cluster.undo)
const images = await publishImages(registry)
const pairs = await findPairs(cluster, images.debian, await unpackImage(cluster))
for (const tasks of TASKS) await timeAll(cluster, pairs, tasks)
await cluster.stop()
