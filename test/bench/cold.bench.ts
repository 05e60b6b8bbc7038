// SPDX-License-Identifier: Apache-2.0
/**
 * The first start of an image that the node does not have: srun with berth beside other ways from the same registry to
 * a first `true`, and beside parts of the work alone, in interleaved rounds: medians of wall seconds, as ratios. The
 * image has 424 MB in four gzip layers, 1.3 GB uncompressed; it is made once from the large image of convert.bench.ts
 * and kept in BERTH_BENCH_DIR (/var/tmp/berth-bench). Two minutes; asked for by name, ten.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { messageOf } from '../../src/report/errors.js'
import { type Cluster, startCluster } from '../cluster/cluster.js'
import { startRegistry } from '../cluster/registry.js'
import { median } from '../demo/start_time.js'
import { findPeers, type Peer } from './cold_peers.js'
import { startTlsFront } from './tls_front.js'

const DIRECTORY = process.env.BERTH_BENCH_DIR ?? '/var/tmp/berth-bench'
/** Odd, so that a median is a measured value. */
const ROUNDS = Number(process.env.BERTH_BENCH_ROUNDS ?? 3)
const TIME_MAX_MS = 600_000

for (const script of ['convert_images.sh', 'cold_image.sh'])
  execFileSync(join(import.meta.dirname, script), [DIRECTORY], { stdio: ['ignore', 'ignore', 'inherit'] })
const layout = join(DIRECTORY, 'cold')
const blobs = layersOf(layout)

const cluster = await startCluster({ nodes: [{}] })
const registry = await startRegistry(cluster.undo)
const plain = await registry.push(layout, 'cold:1')
const tls = `${await startTlsFront(registry.host, cluster.undo)}/cold:1`

const times = new Map<string, number[]>()
const note = (name: string, seconds: number): void => {
  times.set(name, [...(times.get(name) ?? []), seconds])
}
const peers = new Set(findPeers(process.env.BERTH_BENCH_FULL === '1'))
try {
  await measure()
} finally {
  await cluster.stop()
}
report()

async function measure(): Promise<void> {
  // The worker and its spare importer run, as they do on a node that has seen a job.
  await timeBerth(plain)
  for (let round = 0; round < ROUNDS; round++) {
    note('srun alone', await timeBerth(''))
    await forget(cluster)
    note('srun with berth', await timeBerth(plain))
    for (const peer of peers) if (round === 0 || peer.slow !== true) await notePeer(peer)
  }
}

/** One that does not start here is told and left out. */
async function notePeer(peer: Peer): Promise<void> {
  try {
    note(peer.name, await timePeer(peer))
  } catch (error) {
    process.stdout.write(`${messageOf(error)}\n`)
    peers.delete(peer)
  }
}

async function timeBerth(image: string): Promise<number> {
  const flags = image === '' ? [] : [`--container-image=${image}`]
  const outcome = await cluster.srun(['-n1', ...flags, '/bin/true'], { timeoutMs: TIME_MAX_MS })
  if (outcome.code !== 0) throw new Error(`srun: ${outcome.output}`)
  return outcome.milliseconds / 1000
}

/** Empties the node's store. */
async function forget({ nodes, command }: Cluster): Promise<void> {
  const node = nodes[0]
  const plugin = /\S+\/berth\.so/.exec(readFileSync(join(node?.dir ?? '', 'plugstack.conf'), 'utf8'))?.[0]
  const dist = dirname(plugin ?? '')
  const argv = [join(dist, 'node'), join(dist, 'bin/berth.js'), 'gc', '--all']
  const outcome = await command(argv, { user: 'root', env: { BERTH_RUNTIME_DIR: node?.runtimeDir ?? '' } })
  if (outcome.code !== 0) throw new Error(outcome.output)
}

async function timePeer(peer: Peer): Promise<number> {
  const work = mkdtempSync(join(cluster.dir, 'peer-'))
  const urls = blobs.map((blob) => `http://${registry.host}/v2/cold/blobs/sha256:${blob.split('/').at(-1)}`)
  execFileSync('sync')
  const started = performance.now()
  // Not spawnSync: the TLS front lives in this process.
  const outcome = await cluster.command(['bash', '-eo', 'pipefail', '-c', `cd $work; ${peer.command}`], {
    user: 'root',
    timeoutMs: TIME_MAX_MS,
    env: { PATH: process.env.PATH ?? '', work, plain, tls, urls: urls.join(' '), blobs: blobs.join(' ') },
  })
  const seconds = (performance.now() - started) / 1000
  if (outcome.code !== 0) throw new Error(`${peer.name}: ${outcome.output}`)
  rmSync(work, { recursive: true, force: true })
  return seconds
}

function layersOf(directory: string): string[] {
  const read = (digest: string): { manifests?: { digest: string }[]; layers?: { digest: string }[] } =>
    JSON.parse(readFileSync(join(directory, 'blobs', digest.replace(':', '/')), 'utf8'))
  const index = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8')) as ReturnType<typeof read>
  const { layers = [] } = read(index.manifests?.[0]?.digest ?? '')
  return layers.map(({ digest }) => join(directory, 'blobs', digest.replace(':', '/')))
}

function report(): void {
  const of = (name: string): number => median(times.get(name) ?? [])
  const berth = of('srun with berth')
  const gunzip = of('gunzip alone, 2 streams')
  const lines = [...times].map(([name, list]) => {
    const value = median(list)
    const ratios = [value / berth, value / gunzip].map((ratio) => ratio.toFixed(2).padStart(10))
    return `${(list.length < ROUNDS ? `${name} *` : name).padEnd(46)}${value.toFixed(1).padStart(6)}${ratios.join('')}`
  })
  process.stdout.write(`\nfirst output, medians of ${ROUNDS} interleaved rounds (* one)\n`)
  process.stdout.write(`${''.padEnd(46)}     s   × berth  × gunzip\n${lines.join('\n')}\n`)
}
