// SPDX-License-Identifier: Apache-2.0
/**
 * What a warm container of each engine costs under berth, beside the same engine started by hand in each task: median
 * over bare srun in ms, in interleaved rounds.
 */
import { join } from 'node:path'
import { type Cluster, startCluster } from '../cluster/cluster.js'
import { must, run } from '../cluster/command.js'
import { publishImages } from '../cluster/images.js'
import { startRegistry } from '../cluster/registry.js'
import { median } from '../demo/start_time.js'
import { startDockerd } from '../engine/dockerd.js'
import { APPTAINER_DIR, ENGINE_CASES } from '../engine/engines.js'
import { ENGINE_PATH, installStandins, removeStandins } from '../engine/standins.js'
import { type Contender, unpackImage } from './start_contenders.js'

/** Odd, so that the median is a measured value. */
const ROUNDS = 11
const TASKS = [1, 8]
const NAMES = ENGINE_CASES.map(({ name }) => name).join(',')

const APPTAINER = [join(APPTAINER_DIR, 'apptainer'), '-s', 'exec', '--userns']
const QUIET = ['-quiet', '-no-progress']

interface ByHand {
  /** Once on the node, not measured. */
  before?: string[]
  prefix: string[]
}

/**
 * The same as a user would type it, by engine and what it starts from; `tree` is the image unpacked on the node, `folder`
 * one that the user can write. Engines without a row have no way that needs no file.
 */
const BY_HAND: Readonly<Record<string, (tree: string, image: string, folder: string) => ByHand>> = {
  charliecloud: (tree) => ({ prefix: ['ch-run', tree, '--'] }),
  // Images that nobody has unpacked on the node, as these engines advise for clusters.
  'charliecloud, squashfs': (tree, _, folder) => ({
    before: ['mksquashfs', tree, `${folder}/ch.sqfs`, ...QUIET],
    prefix: ['ch-run', `${folder}/ch.sqfs`, '--'],
  }),
  'apptainer, squashfs': (tree, _, folder) => ({
    before: ['mksquashfs', tree, `${folder}/apptainer.sqfs`, ...QUIET],
    prefix: [...APPTAINER, `${folder}/apptainer.sqfs`],
  }),
  podman: (_, image, folder) => {
    // The user has no subordinate ids, for which podman wants its store told; crun refuses mixed versions of cgroups.
    const store = [
      `--root=${folder}/podman`,
      '--storage-driver=overlay',
      '--storage-opt=overlay.ignore_chown_errors=true',
    ]
    const podman = ['podman', ...store, '--runtime=runc', '--cgroup-manager=cgroupfs']
    return {
      before: [...podman, 'pull', '--quiet', '--tls-verify=false', image],
      prefix: [...podman, 'run', '--rm', '--pull=never', '--network=host', '--pid=host', image],
    }
  },
  apptainer: (tree) => ({ prefix: [...APPTAINER, tree] }),
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
    else tellCause(`berth ${name}`, begun.output)
    for (const [way, words] of Object.entries(BY_HAND)) {
      if (way.split(',')[0] !== name) continue
      const { before, prefix } = words(tree, image, cluster.shared)
      if (before !== undefined) await cluster.srun(['-n1', '-w', 'n1', ...before])
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

/** A device that users may open, as elsewhere, for ch-run by hand: here it is root's. */
async function offerFuse(cluster: Cluster): Promise<void> {
  const device = join(cluster.dir, 'fuse')
  await must(['mknod', '-m', '666', device, 'c', '10', '229'])
  for (const node of cluster.nodes)
    await run(['nsenter', `--mount=/proc/${node.pid()}/ns/mnt`, 'mount', '--bind', device, '/dev/fuse'])
}

async function timeOnce(cluster: Cluster, tasks: number, contender: Contender): Promise<number> {
  // What the one before has left to clean up is not this one's.
  await cluster.srun(['-n1', '-w', 'n1', '/bin/true'])
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
    `\n${tasks} tasks, medians of ${ROUNDS} interleaved rounds\n${' '.repeat(36)}ms   over bare\n`,
  )
  for (const { name } of all) {
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
await offerFuse(cluster)
if (ENGINE_CASES.some(({ name, missing }) => name === 'docker' && missing === undefined))
  for (const node of cluster.nodes) cluster.undo.push('dockerd', await startDockerd(node))
const registry = await startRegistry(cluster.undo)
const images = await publishImages(registry)
const pairs = await findPairs(cluster, images.debian, await unpackImage(cluster))
for (const tasks of TASKS) await timeAll(cluster, pairs, tasks)
await cluster.stop()
