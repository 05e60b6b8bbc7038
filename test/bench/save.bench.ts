// SPDX-License-Identifier: Apache-2.0
/**
 * Saving a container after a change beside mksquashfs of the same tree, in interleaved rounds: medians of wall and CPU
 * seconds, as ratios. The image is the large one of convert.bench.ts (1 GB compressed, 3 GB of files); mksquashfs reads
 * an unpacked tree, as enroot keeps it. A copy of the file is the bound. Each as a new file, where nobody waits for the
 * disk, and over an older one, where the new one has to be on the disk first.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { build } from '../native/squash/workbench.js'

const DIRECTORY = process.env.BERTH_BENCH_DIR ?? '/var/tmp/berth-bench'
/** Odd, so that a median is a measured value. */
const ROUNDS = Number(process.env.BERTH_BENCH_ROUNDS ?? 3)
const DIST = join(import.meta.dirname, '../../dist')
const { native } = (await import(join(DIST, 'native.js'))) as typeof import('../../src/native.js')
const { runSaver } = (await import(
  join(DIST, 'launch/saver.js')
)) as typeof import('../../src/launch/saver.js')
const LARGE = join(DIRECTORY, 'large')
const BASE = join(DIRECTORY, 'save-base')
const TREE = join(DIRECTORY, 'save-tree')
const UPPER = join(DIRECTORY, 'save-upper')
const OUT = join(DIRECTORY, 'save-out')
const ZSTD1 = '-comp zstd -Xcompression-level 1 -b 131072 -noappend -no-progress -quiet -processors 2'
const MKSQUASHFS = `mksquashfs ${TREE} ${OUT} ${ZSTD1}`
const COPY = `cp --reflink=never ${BASE} ${OUT}`
const OWN = 'berth save'

interface Sample {
  wall: number
  cpu: number
}

function shell(script: string): void {
  execFileSync('sh', ['-ec', script], { stdio: ['ignore', 'ignore', 'inherit'] })
}

function prepare(): void {
  execFileSync(join(import.meta.dirname, 'convert_images.sh'), [DIRECTORY], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const layers = '$(ls *.tgz | sort)'
  if (!existsSync(BASE)) shell(`cd ${LARGE} && ${build()} ${BASE}.part ${layers} && mv ${BASE}.part ${BASE}`)
  if (!existsSync(TREE))
    shell(`unsquashfs -q -n -d ${TREE}.part ${BASE} >/dev/null && mv ${TREE}.part ${TREE}`)
}

/** The same in the upper directory and in the tree. */
function change(bytes: number): void {
  rmSync(UPPER, { recursive: true, force: true })
  for (const root of [UPPER, TREE]) {
    mkdirSync(join(root, 'opt'), { recursive: true })
    writeFileSync(join(root, 'opt/changed'), Buffer.alloc(bytes, 'some text that compresses\n'))
  }
}

function commandSample(command: string): Sample {
  const started = process.hrtime.bigint()
  const done = spawnSync('/usr/bin/time', ['-f', '%U %S', 'sh', '-ec', command], { encoding: 'utf8' })
  if (done.status !== 0) throw new Error(done.stderr)
  const [user = 0, system = 0] = (done.stderr.trim().split('\n').at(-1) ?? '').split(' ').map(Number)
  return { wall: Number(process.hrtime.bigint() - started) / 1e9, cpu: user + system }
}

const LIMITS = { bytesMax: 1e12, entriesMax: 1e8 }
const ORDER = { compressor: 'zstd' as const, level: 1, threads: 2, ...LIMITS, own: [], add: [] }

/** As the worker does it, with the process; CPU is that of the same work in here. */
async function saveSample(durable: boolean): Promise<Sample> {
  const order = { ...ORDER, durable }
  const fds = [openSync(BASE, 'r'), openSync(UPPER, constants.O_DIRECTORY), openSync(OUT, 'w+')]
  const [image = -1, upper = -1, out = -1] = fds
  const user = { uid: 0, gid: 0 }
  const started = process.hrtime.bigint()
  const signal = new AbortController().signal
  await runSaver({ distDir: DIST, user, image, upper, out, order, sizeMax: 1e12, signal })
  const wall = Number(process.hrtime.bigint() - started) / 1e9
  rmSync(OUT)
  const again = openSync(OUT, 'w+')
  const before = process.cpuUsage()
  await native.assembleSquash({ ...order, image, upper, out: again, opaque: [] })
  const { user: userTime, system } = process.cpuUsage(before)
  for (const fd of [...fds, again]) closeSync(fd)
  return { wall, cpu: (userTime + system) / 1e6 }
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function round(samples: Map<string, Sample[]>, sizes: Map<string, number>): Promise<void> {
  const ways: [string, () => Sample | Promise<Sample>][] = [
    [OWN, () => saveSample(false)],
    ['mksquashfs of the tree', () => commandSample(MKSQUASHFS)],
    ['cp of the image', () => commandSample(COPY)],
    ['berth save, with fsync', () => saveSample(true)],
    ['mksquashfs, sync', () => commandSample(`${MKSQUASHFS}; sync ${OUT}`)],
    ['cp, sync', () => commandSample(`${COPY}; sync ${OUT}`)],
  ]
  for (const [name, way] of ways) {
    rmSync(OUT, { force: true })
    execFileSync('sync')
    samples.set(name, [...(samples.get(name) ?? []), await way()])
    sizes.set(name, statSync(OUT).size / 1e6)
  }
}

prepare()
for (const [what, bytes] of [
  ['one file of 1 MB', 1e6],
  ['one file of 500 MB', 5e8],
] as const) {
  change(bytes)
  const samples = new Map<string, Sample[]>()
  const sizes = new Map<string, number>()
  for (let i = 0; i < ROUNDS; i++) await round(samples, sizes)
  const of = (name: string) => {
    const list = samples.get(name) ?? []
    return { wall: median(list.map(({ wall }) => wall)), cpu: median(list.map(({ cpu }) => cpu)) }
  }
  const own = of(OWN)
  print(
    `\n${what} changed in an image of ${(statSync(BASE).size / 1e6).toFixed(0)} MB, medians of ${ROUNDS} rounds`,
  )
  print(`${''.padEnd(25)}  wall s    cpu s   × wall    × cpu   MB out`)
  for (const name of samples.keys()) {
    const { wall, cpu } = of(name)
    const cells = [wall, cpu, wall / own.wall, cpu / own.cpu].map((value) => value.toFixed(2).padStart(9))
    print(`${name.padEnd(24)}${cells.join('')}${(sizes.get(name) ?? 0).toFixed(1).padStart(9)}`)
  }
}
for (const path of [OUT, UPPER]) rmSync(path, { recursive: true, force: true })
