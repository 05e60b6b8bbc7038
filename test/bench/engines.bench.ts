// SPDX-License-Identifier: Apache-2.0
/**
 * What a warm container of each engine costs under berth, beside the same engine started by hand in each task: median
 * over bare srun in ms, in interleaved rounds.
 */
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../../src/report/errors.js'
import { type Cluster, startCluster } from '../cluster/cluster.js'
import { must, run } from '../cluster/command.js'
import { publishImages } from '../cluster/images.js'
import { startRegistry } from '../cluster/registry.js'
import { USER_A } from '../cluster/users.js'
import { median } from '../demo/start_time.js'
import { startDockerd } from '../engine/dockerd.js'
import { ENGINE_CASES } from '../engine/engines.js'
import { ENGINE_PATH, installStandins, removeStandins } from '../engine/standins.js'
import { BY_HAND } from './engines_by_hand.js'
import { type Contender, unpackImage } from './start_contenders.js'

/** Odd, so that the median is a measured value. */
const ROUNDS = 11
const TASKS = [1, 8]
/** `docker run` by hand, eight at once, was seen not to end. */
const START_MS_MAX = 30_000
const WANTED = (process.env.BERTH_TEST_ENGINE ?? '').split(',').filter((name) => name !== '')
const CASES = ENGINE_CASES.filter(({ name }) => WANTED.length === 0 || WANTED.includes(name))
const NAMES = ENGINE_CASES.map(({ name }) => name).join(',')

async function findPairs(cluster: Cluster, image: string, tree: string): Promise<Contender[]> {
  const found: Contender[] = []
  for (const { name, missing, options = [] } of CASES) {
    if (missing !== undefined) {
      process.stdout.write(`${name}: ${missing}\n`)
      continue
    }
    const flags = [`--container-image=${image}`, `--container-engine=${name}`, ...options]
    const begun = await cluster.srun(['-n1', '-w', 'n1', ...flags, '/bin/true'])
    if (begun.code === 0) found.push({ name: `berth ${name}`, flags, prefix: [] })
    else tellCause(`berth ${name}`, begun.output)
    for (const [way, words] of Object.entries(BY_HAND)) {
      if (way.split(',')[0] !== name) continue
      const { before = [], prefix } = words({ tree, image, folder: cluster.shared, uid: USER_A.uid })
      for (const command of before) await cluster.srun(['-n1', '-w', 'n1', ...command])
      const tried = await cluster.srun(['-n1', '-w', 'n1', ...prefix, '/bin/true'])
      if (tried.code === 0) found.push({ name: `${way} by hand`, flags: [], prefix })
      else tellCause(`${way} by hand`, tried.output)
    }
  }
  return found
}

/** Slurm's own line says only that something failed. */
function tellCause(name: string, output: string): void {
  const lines = output.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('srun:'))
  process.stdout.write(`${name} does not start here: ${lines.join(' | ')}\n`)
}

/** What stands in the way of engines by hand here: a device that is root's, both versions of cgroups at once (crun 1.8). */
async function clearWays({ dir, nodes }: Cluster): Promise<void> {
  const device = join(dir, 'fuse')
  await must(['mknod', '-m', '666', device, 'c', '10', '229'])
  for (const node of nodes) {
    const inNode = ['nsenter', `--mount=/proc/${node.pid()}/ns/mnt`]
    await run([...inNode, 'mount', '--bind', device, '/dev/fuse'])
    await run([...inNode, 'umount', '/sys/fs/cgroup/unified'])
  }
}

/** Its socket for everyone, as nobody should. */
async function offerDocker({ nodes, undo }: Cluster): Promise<void> {
  for (const node of nodes) {
    undo.push('dockerd', await startDockerd(node, 'overlay2'))
    chmodSync(join(node.dir, 'run/docker.sock'), 0o666)
  }
}

async function timeOnce(cluster: Cluster, tasks: number, contender: Contender): Promise<number> {
  // What the one before has left to clean up is not this one's.
  await cluster.srun(['-n1', '-w', 'n1', '/bin/true'])
  const args = ['-N1', '-w', 'n1', `-n${tasks}`, ...contender.flags, ...contender.prefix, '/bin/true']
  const outcome = await cluster.srun(args, { timeoutMs: START_MS_MAX })
  if (outcome.code !== 0) throw new Error(`${contender.name}: ${outcome.output}`)
  return outcome.milliseconds
}

async function timeAll(cluster: Cluster, contenders: readonly Contender[], tasks: number): Promise<void> {
  const all = [{ name: 'bare srun', flags: [], prefix: [] }, ...contenders]
  const times = new Map<string, number[]>(all.map(({ name }) => [name, []]))
  const failed = new Set<string>()
  for (let round = -1; round < ROUNDS; round++)
    for (const contender of all.filter(({ name }) => !failed.has(name)))
      try {
        const milliseconds = await timeOnce(cluster, tasks, contender)
        if (round >= 0) times.get(contender.name)?.push(milliseconds)
      } catch (error) {
        failed.add(contender.name)
        process.stdout.write(`${contender.name}, ${tasks} tasks, round ${round}: ${messageOf(error)}\n`)
      }
  const bare = median(times.get('bare srun') ?? [])
  process.stdout.write(
    `\n${tasks} tasks, medians of ${ROUNDS} interleaved rounds\n${' '.repeat(36)}ms   over bare\n`,
  )
  for (const { name } of all.filter((one) => !failed.has(one.name))) {
    const value = median(times.get(name) ?? [])
    process.stdout.write(
      `${name.padEnd(32)}${value.toFixed(1).padStart(6)}${(value - bare).toFixed(1).padStart(12)}\n`,
    )
  }
}

const cluster = await startCluster({
  plugArgs: [`engine_path=${ENGINE_PATH}`, 'engine_args=allow', `engines=${NAMES}`],
})
cluster.undo.push('stand-ins', removeStandins)
await installStandins()
await clearWays(cluster)
if (CASES.some(({ name, missing }) => name === 'docker' && missing === undefined)) await offerDocker(cluster)
const registry = await startRegistry(cluster.undo)
const images = await publishImages(registry)
const pairs = await findPairs(cluster, images.debian, await unpackImage(cluster))
for (const tasks of TASKS) await timeAll(cluster, pairs, tasks)
// Podman by hand leaves a process for the user's next container, which never ends by itself.
await cluster.srun(['-n1', '-w', 'n1', 'podman', 'system', 'migrate'])
await cluster.stop()
