// SPDX-License-Identifier: Apache-2.0
/**
 * Workers and importers that are killed at random points of imports from a real registry behind a slow line. Whatever
 * the point: nothing half-done has a name, no space is lost, those who wait get their image or a code that says why,
 * and the next import gives the same bytes. The points are those of one seed; BERTH_TEST_SEED gives others.
 */
import { equal, match, ok } from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { writeLayout } from '../../cluster/layout.js'
import { importersOf, loopDevices } from '../../cluster/leftovers.js'
import { makeTar } from '../../cluster/tar.js'
import { type RealRegistry, startRegistry } from '../../registry.js'
import { suite } from '../../suite.js'
import { missingForNode, OTHER_UID, TestNode } from './node.js'
import { SlowFront } from './slow_front.js'
import type { TestStep } from './stand_in.js'
import { until } from './until.js'

const test = suite('deaths')
const missing = missingForNode()
const SEED = Number(process.env.BERTH_TEST_SEED ?? 1)
/** SHORT_LIFE_SIGNALLED_MS of slurm/serve.c, and a little for the start. */
const SHORT_LIFE_MS = 1200
/** After the last byte: conversion's end, publication, namespaces. */
const LATE_MS_MAX = 120
/** Of the points, those that lie there. */
const LATE_SHARE = 0.35

let registry: RealRegistry
let front: SlowFront
let node: TestNode

function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return (state >>> 8) / 2 ** 24
  }
}
const random = generator(SEED)

const PROGRAM = makeTar([
  { name: 'bin/busybox', mode: 0o755, content: readFileSync('/bin/busybox') },
  { name: 'bin/cat', type: '2', link: 'busybox' },
  { name: 'etc/inside', content: 'lives\n' },
  ...['proc', 'sys', 'dev', 'tmp'].map((name) => ({ name, type: '5' as const })),
])
const NOISE = makeTar([{ name: 'noise', content: randomBytes(2_000_000) }])
/** Of the top layer, what does not compress. */
const TOP_FETCHED = 1_500_000
const TOP = makeTar([
  { name: 'top', content: randomBytes(TOP_FETCHED) },
  { name: 'text', content: 'again and again\n'.repeat(200_000) },
])

/** Pushes layers as an image; answers how it is called through the front. */
function push(name: string, layers: readonly Buffer[]): string {
  const layout = join(node.dir, `layout-${name}`)
  writeLayout(layout, { layers })
  const to = `docker://${registry.host}/lab/${name}:1`
  execFileSync('skopeo', ['copy', '-q', '--dest-tls-verify=false', `oci:${layout}`, to])
  return `${front.host}/lab/${name}:1`
}

test.before(async () => {
  if (missing !== undefined) return
  process.stdout.write(`BERTH_TEST_SEED=${SEED}\n`)
  registry = await startRegistry()
  front = await SlowFront.start(registry.host)
  // Whoever of the two leads an import gets the same layers lent.
  node = new TestNode({ reuse: 'all' })
  node.startKeeper()
})

test.after(async () => {
  if (missing !== undefined) return
  const left = (await node.stop()).join('\n')
  front.stop()
  await registry.stop()
  equal(left, '')
})

const stepOf = (on: TestNode, image: string, uid?: number): TestStep =>
  on.step({
    options: [`container-image=${image}`],
    command: ['cat', '/etc/inside'],
    ...(uid === undefined ? {} : { uid }),
  })

/** The image, or a code that says why not; answers whether it was the image. */
async function endsWell(step: TestStep): Promise<boolean> {
  const status = await step.exit()
  if (status === 0) equal(step.stdout, 'lives\n')
  else {
    equal(status, 125, step.stderr)
    match(step.stderr, /error\[BERTH_E[A-Z]+\]/)
  }
  step.end()
  return status === 0
}

/** Files of the store, all of complete images. */
function filesOf(directory: string): string {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .filter((name) => /^(images|tmp|leases)\//.test(name))
    .sort()
    .join('\n')
}

/** Open files without a name below a directory: their space is not back. */
function nameless(directory: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
      } catch {
        return []
      }
    })
    .concat(loopDevices(directory))
    .filter((path) => path.includes(directory) && path.endsWith(' (deleted)'))
}

/** SHA-256 of the one image in a folder whose key is none of `others`. */
function imageIn(folder: string, others: readonly string[] = []): string {
  const names = readdirSync(folder).filter((name) => name.endsWith('.sqsh') && !others.includes(name))
  equal(names.length, 1, names.join())
  const bytes = readFileSync(join(folder, names[0] ?? ''))
  return createHash('sha256').update(bytes).digest('hex')
}

async function kill(on: TestNode, victim: 'worker' | 'importer'): Promise<boolean> {
  const worker = await on.workerPid()
  const pids = victim === 'worker' ? [worker] : importersOf(worker)
  for (const pid of pids)
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended by itself just now.
    }
  return pids.length > 0
}

/** Of three short lives in a row the keeper makes no fourth. */
async function lived(on: TestNode): Promise<void> {
  on.cli('ps')
  await on.workerPid()
  const path = join(on.runtime, 'worker.pid')
  await until('a life that is not short', () => Date.now() - statSync(path).mtimeMs > SHORT_LIFE_MS)
}

/** When to kill: after so many bytes, or so long after all of them. */
async function atSomePoint(total: number): Promise<string> {
  const late = random() < LATE_SHARE
  const bytes = late ? total : Math.floor(random() * total)
  const after_ms = late ? Math.floor(random() * LATE_MS_MAX) : 0
  await front.point(bytes)
  await new Promise((resolve) => setTimeout(resolve, after_ms))
  return `${bytes} of ${total} bytes and ${after_ms} ms`
}

async function emptied(on: TestNode, files: string): Promise<void> {
  await until('no lease', () => on.leases().length === 0)
  await until('an empty store', () => {
    on.cli('gc', '--all')
    return filesOf(on.store) === files
  })
  await until('all space back', () => nameless(on.store).length === 0)
}

interface Siege {
  image: string
  /** Bytes that are fetched. */
  total: number
  rounds: number
  /** Where steps run; the first one's processes are killed. */
  nodes: readonly [TestNode, ...TestNode[]]
}

/** Kills while steps of two users wait for the image. `clean` makes the next import a whole one. */
async function survive(
  { image, total, rounds, nodes }: Siege,
  whole: string,
  sum: () => string,
  clean: () => Promise<void>,
): Promise<void> {
  const [victims] = nodes
  for (let round = 0; round < rounds; round++) {
    const victim = round % 2 === 0 ? 'worker' : 'importer'
    if (victim === 'worker') await lived(victims)
    const point = atSomePoint(total)
    const steps = nodes.flatMap((on) => [stepOf(on, image), stepOf(on, image, OTHER_UID)])
    for (const step of steps) step.start(0)
    const where = `${victim} at ${await point}`
    const hit = await kill(victims, victim)
    for (const step of steps) {
      const done = await endsWell(step)
      ok(done || victim === 'importer', `${where}: ${step.stderr}`)
    }
    for (const on of nodes) await runs(on, image)
    for (const on of nodes) await until('no unfinished file', () => on.unfinished().length === 0)
    equal(sum(), whole, where)
    await clean()
    process.stdout.write(`${where}${hit ? '' : ', too late'}\n`)
  }
}

async function runs(on: TestNode, image: string, uid?: number): Promise<void> {
  const step = stepOf(on, image, uid)
  equal((await step.run())[0], 0, step.stderr)
  step.end()
}

async function surviveAlone(image: string, total: number, rounds: number): Promise<void> {
  const images = join(node.store, 'images')
  const others = readdirSync(images)
  const files = filesOf(node.store)
  const sum = () => imageIn(images, others)
  const clean = () => emptied(node, files)
  await runs(node, image)
  const whole = sum()
  await clean()
  await survive({ image, total, rounds, nodes: [node] }, whole, sum, clean)
}

test.needs(missing, 'kills at 6 points of an import', async () => {
  await runs(node, node.image)
  await surviveAlone(push('plain', [PROGRAM, NOISE]), NOISE.length, 6)
})

test.needs(missing, 'kills at 4 points of an import that takes layers from a stored image', async () => {
  const base = push('base', [PROGRAM, NOISE])
  await runs(node, base)
  equal(node.cli('pin', base).status, 0)
  await surviveAlone(push('reuse', [PROGRAM, NOISE, TOP]), TOP_FETCHED, 4)
})

test.needs(missing, 'kills at 4 points of an import for all nodes: another one takes over', async () => {
  const shared = mkdtempSync('/run/berth-shared-')
  const nodes = [1, 2].map(() => new TestNode({ shared_store: shared })) as [TestNode, TestNode]
  try {
    for (const on of nodes) on.startKeeper()
    const image = push('shared', [PROGRAM, NOISE])
    for (const on of nodes) await runs(on, on.image)
    const empty = nodes.map((on) => filesOf(on.store))
    const sum = () => imageIn(join(shared, 'images'))
    const published = () =>
      filesOf(shared)
        .split('\n')
        .map((name) => name.replace(/.*\./, ''))
        .join()
    const clean = async () => {
      await until('the publication', () => published() === 'json,sqsh')
      for (const [index, on] of nodes.entries()) await emptied(on, empty[index] ?? '')
      await until('no copy under way', () => nameless(shared).length === 0)
      for (const name of readdirSync(join(shared, 'images'))) rmSync(join(shared, 'images', name))
    }
    await runs(nodes[0], image)
    await until('the publication', () => published() === 'json,sqsh')
    const whole = sum()
    await clean()
    const published_sum = () => {
      for (const on of nodes) equal(imageIn(join(on.store, 'images')), whole)
      return whole
    }
    await survive({ image, total: NOISE.length, rounds: 4, nodes }, whole, published_sum, async () => {
      await until('the publication', () => published() === 'json,sqsh')
      equal(sum(), whole)
      await clean()
    })
  } finally {
    const left = (await Promise.all(nodes.map((on) => on.stop()))).flat()
    rmSync(shared, { recursive: true, force: true })
    equal(left.join('\n'), '')
  }
})

test.run()
