// SPDX-License-Identifier: Apache-2.0
/**
 * Layers to squashfs beside other ways to the same file, in interleaved rounds: medians of wall and CPU seconds, as
 * ratios to berth's on the layers. The others cannot merge layers: they get one flat tar of what is visible in the end
 * and hash nothing, so `berth, flat` is the line to read them by. Images are made from Debian packages once and kept in
 * BERTH_BENCH_DIR (/var/tmp/berth-bench).
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { build } from '../native/squash/workbench.js'

const DIRECTORY = process.env.BERTH_BENCH_DIR ?? '/var/tmp/berth-bench'
/** Odd, so that a median is a measured value. */
const ROUNDS = Number(process.env.BERTH_BENCH_ROUNDS ?? 5)
const IMAGES = (process.env.BERTH_BENCH_IMAGES ?? 'medium large').split(' ')

interface Contender {
  name: string
  /** Shell command; $layers (lowest first), $flat, $out and $tree are set. */
  command: string
  /** Leaves an image in $out. */
  makesImage: boolean
}

interface Sample {
  wall: number
  cpu: number
  megabytes: number
}

const convert = build()
const bound = build('bench/convert_bound.cc', 'bound')
const zstd1 = '-comp zstd -Xcompression-level 1 -b 131072 -noappend -no-progress -quiet -processors 2'

const CONTENDERS: Contender[] = [
  { name: 'berth zstd-1', command: `${convert} $out $layers`, makesImage: true },
  { name: 'berth lz4', command: `${convert} -compressor lz4 $out $layers`, makesImage: true },
  { name: 'berth zstd-3', command: `${convert} -level 3 $out $layers`, makesImage: true },
  { name: 'bound: inflate, hash', command: `${bound} $layers`, makesImage: false },
  { name: 'berth, flat', command: `${convert} $out $flat`, makesImage: true },
  { name: 'bound, flat', command: `${bound} $flat`, makesImage: false },
  {
    name: 'igzip | tar2sqfs -j2',
    command: 'igzip -dc $flat | tar2sqfs -j 2 -c zstd -X level=1 -b 131072 -q -f $out',
    makesImage: true,
  },
  {
    name: 'igzip | mksquashfs -tar',
    command: `igzip -dc $flat | mksquashfs - $out -tar ${zstd1}`,
    makesImage: true,
  },
  { name: 'igzip | tar -x', command: 'igzip -dc $flat | tar -C $tree -x', makesImage: false },
  {
    name: 'the same + mksquashfs',
    command: `igzip -dc $flat | tar -C $tree -x; mksquashfs $tree $out ${zstd1}`,
    makesImage: true,
  },
]

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

function measure(contender: Contender, layers: string, flat: string): { sample: Sample; size: number } {
  const out = join(DIRECTORY, 'out')
  const tree = join(DIRECTORY, 'tree')
  for (const path of [out, tree]) rmSync(path, { recursive: true, force: true })
  mkdirSync(tree)
  execFileSync('sync')
  const started = process.hrtime.bigint()
  const done = spawnSync('/usr/bin/time', ['-f', '%U %S %M', 'sh', '-ec', contender.command], {
    encoding: 'utf8',
    env: { ...process.env, layers, flat, out, tree },
  })
  const wall = Number(process.hrtime.bigint() - started) / 1e9
  if (done.status !== 0) throw new Error(`${contender.name}: ${done.stderr}`)
  const [user = 0, system = 0, kilobytes = 0] = (done.stderr.trim().split('\n').at(-1) ?? '')
    .split(' ')
    .map(Number)
  const sample = { wall, cpu: user + system, megabytes: kilobytes / 1024 }
  return { sample, size: contender.makesImage ? statSync(out).size / 1e6 : 0 }
}

/** One gzipped tar of what the image shows. */
function flatten(image: string, layers: string): string {
  const flat = join(DIRECTORY, `${image}-flat.tgz`)
  if (existsSync(flat)) return flat
  const script = `${convert} $out $layers >/dev/null; mkdir -p $tree; mount -t squashfs -o loop,ro $out $tree
    tar -C $tree --numeric-owner --sort=name -cf - . | gzip -6 >$flat.part; umount $tree; mv $flat.part $flat`
  const env = { ...process.env, layers, flat, out: join(DIRECTORY, 'out'), tree: join(DIRECTORY, 'mnt') }
  execFileSync('sh', ['-ec', script], { env })
  return flat
}

function report(
  image: string,
  bytes: number,
  samples: Map<string, Sample[]>,
  sizes: Map<string, number>,
): void {
  const own = samples.get('berth zstd-1') ?? []
  const wall = median(own.map((sample) => sample.wall))
  const cpu = median(own.map((sample) => sample.cpu))
  print(`\n${image}: ${(bytes / 1e6).toFixed(0)} MB uncompressed, medians of ${ROUNDS} interleaved rounds`)
  print(`${''.padEnd(25)}  wall s    cpu s   × wall    × cpu   MB RSS   MB out`)
  for (const [name, list] of samples) {
    const row = {
      wall: median(list.map((sample) => sample.wall)),
      cpu: median(list.map((sample) => sample.cpu)),
      memory: median(list.map((sample) => sample.megabytes)),
    }
    const size = sizes.get(name) ?? 0
    const cells = [row.wall, row.cpu, row.wall / wall, row.cpu / cpu].map((value) =>
      value.toFixed(2).padStart(9),
    )
    print(
      `${name.padEnd(24)}${cells.join('')}${row.memory.toFixed(0).padStart(9)}${size > 0 ? size.toFixed(1).padStart(9) : ''}`,
    )
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

execFileSync(join(import.meta.dirname, 'convert_images.sh'), [DIRECTORY], {
  stdio: ['ignore', 'ignore', 'inherit'],
})
for (const image of IMAGES) {
  const directory = join(DIRECTORY, image)
  const files = readdirSync(directory)
    .filter((name) => name.endsWith('.tgz'))
    .sort()
  const layers = files.map((name) => join(directory, name)).join(' ')
  const flat = flatten(image, layers)
  const answer = execFileSync('sh', ['-ec', `${convert} ${join(DIRECTORY, 'out')} ${layers}`], {
    encoding: 'utf8',
  })
  const samples = new Map<string, Sample[]>(CONTENDERS.map(({ name }) => [name, []]))
  const sizes = new Map<string, number>()
  for (let round = 0; round < ROUNDS; round++)
    for (const contender of CONTENDERS) {
      const { sample, size } = measure(contender, layers, flat)
      samples.get(contender.name)?.push(sample)
      sizes.set(contender.name, size)
    }
  report(image, (JSON.parse(answer) as { bytes: number }).bytes, samples, sizes)
}
for (const name of ['out', 'tree']) rmSync(join(DIRECTORY, name), { recursive: true, force: true })
