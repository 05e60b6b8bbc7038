// SPDX-License-Identifier: Apache-2.0
/**
 * What it costs an import to find out what hookup needs to know of an image: CPU time (user and system) of the
 * conversion and of the look at its output, in one process and in interleaved rounds. Each image is also measured with
 * an MPI on top: then those who use it are looked for, once among those that the conversion marked, as an import does, and
 * once among all, as for an image that comes as a squashfs.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { MPI_FILES } from '../../src/image/elf_names.js'
import { inspectImage } from '../../src/image/inspect.js'
import type { Native } from '../../src/native.js'
import { packagesFile } from '../cluster/mpi_images.js'
import { median } from '../demo/start_time.js'

const native = createRequire(import.meta.url)('../../dist/berth.node') as Native
const DIRECTORY = process.env.BERTH_BENCH_DIR ?? '/var/tmp/berth-bench'
const FULL = process.env.BERTH_BENCH_FULL === '1'
/** Layers of the images of convert_images.sh: some 330, 990 and 4 900 MB. */
const IMAGES: Readonly<Record<string, readonly string[]>> = {
  'Debian, numpy': ['medium/0.tgz', 'medium/2.tgz'],
  medium: ['medium/0.tgz', 'medium/1.tgz', 'medium/2.tgz', 'medium/3.tgz'],
  ...(FULL ? { large: [0, 1, 2, 3, 4, 5, 6, 7].map((layer) => `large/${layer}.tgz`) } : {}),
}
/** Odd, so that a median is a measured value. */
const ROUNDS = Number(process.env.BERTH_BENCH_ROUNDS ?? 5)
const THREADS = 2
const PIECE = 64 * 1024

interface Sample {
  convert: number
  facts: number
  /** The same look without the conversion's marks. */
  unmarked: number
}

async function measure(
  layers: readonly string[],
  out: string,
): Promise<Sample & { bytes: number; users: number }> {
  const fd = openSync(out, 'w+')
  const before = process.cpuUsage()
  const engine = native.squash({
    ...{ fd, layers: layers.length, compressor: 'zstd', level: 1, blockSize: 131072, threads: THREADS },
    ...{ capture: ['etc/passwd', 'etc/group'], bytesMax: 1e12, entriesMax: 1e8, owners: 'keep' },
    markNeeded: MPI_FILES,
  })
  await Promise.all(layers.map((path, index) => feed(engine, index, path)))
  for (const index of await engine.missing()) await feed(engine, index, layers[index] ?? '')
  const { bytes, marks } = await engine.finish()
  const convert = process.cpuUsage(before)
  const then = process.cpuUsage()
  const found = await inspectImage(native, fd, THREADS, marks)
  const facts = process.cpuUsage(then)
  const later = process.cpuUsage()
  await inspectImage(native, fd, THREADS)
  const unmarked = process.cpuUsage(later)
  closeSync(fd)
  const users = found.mpi.reduce((sum, one) => sum + one.users.count, 0)
  return { convert: seconds(convert), facts: seconds(facts), unmarked: seconds(unmarked), bytes, users }
}

async function feed(engine: ReturnType<typeof native.squash>, layer: number, path: string): Promise<void> {
  const fd = openSync(path, 'r')
  for (;;) {
    const piece = Buffer.alloc(PIECE)
    const got = readSync(fd, piece)
    if (got === 0) break
    await engine.write(layer, piece.subarray(0, got))
  }
  closeSync(fd)
  await engine.end(layer)
}

function seconds({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1e6
}

/** Packages with MPICH as one more layer. */
async function withMpi(layers: readonly string[]): Promise<string[]> {
  const layer = join(DIRECTORY, 'mpich.tgz')
  if (!existsSync(layer))
    execFileSync('sh', ['-ec', `gzip -6 <${await packagesFile('mpich-trixie')} >${layer}`])
  return [...layers, layer]
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

execFileSync(join(import.meta.dirname, 'convert_images.sh'), [DIRECTORY], {
  stdio: ['ignore', 'ignore', 'inherit'],
})
const out = join(DIRECTORY, 'facts-out')
print(`medians of ${ROUNDS} interleaved rounds, CPU s     MB    convert    facts    share  unmarked`)
for (const [image, names] of Object.entries(IMAGES)) {
  const plain = names.map((name) => join(DIRECTORY, name))
  const kinds = new Map([
    [image, plain],
    [`${image}, with an MPI`, await withMpi(plain)],
  ])
  const samples = new Map<string, Sample[]>([...kinds.keys()].map((name) => [name, []]))
  const sizes = new Map<string, number>()
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, layers] of kinds) {
      const { bytes, ...sample } = await measure(layers, out)
      samples.get(name)?.push(sample)
      sizes.set(name, bytes)
    }
  for (const [name, list] of samples) {
    const convert = median(list.map((sample) => sample.convert))
    const facts = median(list.map((sample) => sample.facts))
    const unmarked = median(list.map((sample) => sample.unmarked))
    const share = `${((100 * facts) / convert).toFixed(2)} %`
    const megabytes = ((sizes.get(name) ?? 0) / 1e6).toFixed(0)
    print(
      `${name.padEnd(40)}${megabytes.padStart(7)}${convert.toFixed(3).padStart(11)}${facts.toFixed(3).padStart(9)}${share.padStart(9)}${unmarked.toFixed(3).padStart(10)}`,
    )
  }
}
if (statSync(out, { throwIfNoEntry: false }) !== undefined) rmSync(out)
