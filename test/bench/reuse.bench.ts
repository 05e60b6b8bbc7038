// SPDX-License-Identifier: Apache-2.0
/**
 * Imports beside imports that find layers in the store: the same conversion with the same hashing of what arrives,
 * from files instead of a registry. Medians of interleaved rounds in one process; ratios are to the full import.
 * Images as for convert.bench.ts, in BERTH_BENCH_DIR (/var/tmp/berth-bench).
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { convert } from '../../src/image/convert.js'
import type { ImageReader, OpenedImage } from '../../src/image/reader.js'
import { loadNative } from '../native/import/fixture.js'

const DIRECTORY = process.env.BERTH_BENCH_DIR ?? '/var/tmp/berth-bench'
const ROUNDS = Number(process.env.BERTH_BENCH_ROUNDS ?? 3)
const IMAGES = (process.env.BERTH_BENCH_IMAGES ?? 'medium large').split(' ')
const INDEX_FOOTER = 64

interface Sample {
  wall: number
  cpu: number
  /** Of wall: fsync at the end. */
  sync: number
}

interface Stored {
  path: string
  files: string[]
}

/** Layers that a stored image may lend, and new ones on top; files of the image's folder. */
interface Case {
  name: string
  base: number[]
  top: number[]
}

const CASES: Record<string, Case[]> = {
  medium: [
    { name: 'all layers stored', base: [0, 1, 2, 3], top: [] },
    { name: 'top layer new', base: [0, 1, 2], top: [3] },
    { name: 'another top layer', base: [0, 1], top: [2] },
  ],
  large: [
    { name: 'all layers stored', base: [0, 1, 2, 3, 4, 5, 6, 7], top: [] },
    { name: 'top layer new', base: [0, 1, 2, 3, 4, 5, 6], top: [7] },
    { name: 'another top layer', base: [1, 3, 4, 5, 6], top: [0, 2] },
    { name: 'a larger top layer', base: [0, 2, 3, 4, 5, 6], top: [1] },
  ],
}

const native = loadNative()
const folder = mkdtempSync(join(process.env.BERTH_BENCH_TMP ?? tmpdir(), 'berth-reuse-'))
const digests = new Map<string, string>()

function digestOf(file: string): string {
  const known = digests.get(file) ?? `sha256:${createHash('sha256').update(readFileSync(file)).digest('hex')}`
  digests.set(file, known)
  return known
}

async function run(files: string[], out: string, base: Stored | undefined): Promise<Sample> {
  const layers = files.map((file) => ({ mediaType: '', digest: digestOf(file), size: statSync(file).size }))
  const image = { digest: '', parsed: { diffIds: [] }, layers } as unknown as OpenedImage
  const byDigest = new Map(files.map((file) => [digestOf(file), file]))
  const reader = {
    layer: ({ digest }: { digest: string }) => createReadStream(byDigest.get(digest) ?? ''),
  } as unknown as ImageReader
  const lent = files.flatMap((file, layer) => {
    const at = base?.files.indexOf(file) ?? -1
    return at < 0 ? [] : [{ layer, image: 0, at }]
  })
  rmSync(out, { force: true })
  execFileSync('sync')
  const fd = openSync(out, 'w+')
  const images = base === undefined ? [] : [openSync(base.path, 'r')]
  const before = process.cpuUsage()
  const started = process.hrtime.bigint()
  const engine = native.squash({
    ...{ fd, layers: files.length, compressor: 'zstd', level: 1, blockSize: 131_072, threads: 2 },
    ...{ bytesMax: 1e12, entriesMax: 1e7, capture: [] },
    ...(base === undefined ? {} : { reuse: { images, layers: lent } }),
  })
  await convert(image, reader, engine, () => {}, new Set(lent.map(({ layer }) => layer)))
  const written = process.hrtime.bigint()
  fsyncSync(fd)
  const sync = Number(process.hrtime.bigint() - written) / 1e9
  const wall = Number(process.hrtime.bigint() - started) / 1e9
  const { user, system } = process.cpuUsage(before)
  for (const one of [fd, ...images]) closeSync(one)
  return { wall, cpu: (user + system) / 1e6, sync }
}

function median(samples: readonly Sample[], key: keyof Sample): number {
  return samples.map((sample) => sample[key]).sort((a, b) => a - b)[Math.floor(samples.length / 2)] ?? 0
}

/** Bytes behind the squashfs: the last field of its superblock's sizes says where that ends. */
function indexSize(path: string): number {
  const fd = openSync(path, 'r')
  const footer = Buffer.alloc(INDEX_FOOTER)
  const size = statSync(path).size
  readSync(fd, footer, 0, INDEX_FOOTER, size - INDEX_FOOTER)
  closeSync(fd)
  return size - Number(footer.readBigUInt64LE(16))
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function compare(image: string, { name, base, top }: Case): Promise<void> {
  const fileOf = (number: number) => join(DIRECTORY, image, `${number}.tgz`)
  const all = [...base, ...top].map(fileOf)
  const stored: Stored = { path: join(folder, 'base'), files: base.map(fileOf) }
  await run(stored.files, stored.path, undefined)
  const [full, reused] = [join(folder, 'full'), join(folder, 'reused')]
  const samples: { full: Sample[]; reused: Sample[] } = { full: [], reused: [] }
  for (let round = 0; round < ROUNDS; round++) {
    samples.full.push(await run(all, full, undefined))
    samples.reused.push(await run(all, reused, stored))
  }
  const bytes = (files: readonly string[]) => files.reduce((sum, file) => sum + statSync(file).size, 0)
  const row = (what: string, list: Sample[], fetched: number, path: string) => {
    const [wall, cpu] = [median(list, 'wall'), median(list, 'cpu')]
    const ratios = [wall / median(samples.full, 'wall'), cpu / median(samples.full, 'cpu')]
    const numbers = [wall, cpu, ...ratios, median(list, 'sync')].map((value) => value.toFixed(3).padStart(9))
    const sizes = [fetched / 1e6, statSync(path).size / 1e6].map((value) => value.toFixed(1).padStart(10))
    print(`${what.padEnd(28)}${numbers.join('')}${sizes.join('')}`)
  }
  const share = Math.round((100 * bytes(stored.files)) / bytes(all))
  print(`\n${image}, ${name}: ${share} % of ${all.length} layers' bytes stored, medians of ${ROUNDS} rounds`)
  print(`${''.padEnd(28)}   wall s    cpu s   × wall    × cpu   fsync s   MB sent    MB out`)
  row('full import', samples.full, bytes(all), full)
  row('with stored layers', samples.reused, bytes(top.map(fileOf)), reused)
  print(`index of layers: ${(indexSize(full) / 1e6).toFixed(2)} MB of the full file`)
}

if (!IMAGES.every((image) => existsSync(join(DIRECTORY, image)))) {
  execFileSync(join(import.meta.dirname, 'convert_images.sh'), [DIRECTORY], { stdio: 'inherit' })
}
for (const image of IMAGES) for (const one of CASES[image] ?? []) await compare(image, one)
rmSync(folder, { recursive: true, force: true })
