// SPDX-License-Identifier: Apache-2.0
/**
 * Layers to squashfs beside other ways to the same file, in interleaved rounds: medians of wall and CPU seconds, as
 * ratios to berth's on the layers. `disk s` is wall until all of it is on the disk (syncfs), where the others have only
 * begun to write. They cannot merge layers: they get one flat tar of what is visible in the end, and but for one line
 * they hash nothing, so `berth, flat` is the line to read them by. Images are made from Debian packages once and kept in
 * BERTH_BENCH_DIR (/var/tmp/berth-bench, 4 GB; remove it when done). Two minutes on two cores once they are there; asked
 * for by name (`npm run bench convert`) with the large image and the slowest peers, twenty.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { median } from '../demo/start_time.js'
import { type Contender, contendersOf } from './convert_contenders.js'

const DIRECTORY = process.env.BERTH_BENCH_DIR ?? '/var/tmp/berth-bench'
/** Asked for by name: the large image too, and the peers that need minutes for it. */
const FULL = process.env.BERTH_BENCH_FULL === '1'
/** Odd, so that a median is a measured value. */
const ROUNDS = Number(process.env.BERTH_BENCH_ROUNDS ?? 3)
const IMAGES = (process.env.BERTH_BENCH_IMAGES ?? (FULL ? 'small medium large' : 'small medium')).split(' ')
const { convert, contenders } = contendersOf(FULL)

interface Sample {
  wall: number
  /** Wall until the file system has all of it on the disk. */
  disk: number
  cpu: number
  megabytes: number
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
  execFileSync('sync', ['-f', DIRECTORY])
  const disk = Number(process.hrtime.bigint() - started) / 1e9
  const [user = 0, system = 0, kilobytes = 0] = (done.stderr.trim().split('\n').at(-1) ?? '')
    .split(' ')
    .map(Number)
  const sample = { wall, disk, cpu: user + system, megabytes: kilobytes / 1024 }
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
  const disk = median(own.map((sample) => sample.disk))
  const cpu = median(own.map((sample) => sample.cpu))
  print(
    `\n${image}: ${(bytes / 1e6).toFixed(0)} MB uncompressed, medians of ${ROUNDS} interleaved rounds (* one)`,
  )
  print(`${''.padEnd(31)}  wall s   disk s    cpu s   × wall   × disk    × cpu   MB RSS   MB out`)
  for (const [name, list] of samples) {
    const row = {
      wall: median(list.map((sample) => sample.wall)),
      disk: median(list.map((sample) => sample.disk)),
      cpu: median(list.map((sample) => sample.cpu)),
      memory: median(list.map((sample) => sample.megabytes)),
    }
    const size = sizes.get(name) ?? 0
    const cells = [row.wall, row.disk, row.cpu, row.wall / wall, row.disk / disk, row.cpu / cpu].map(
      (value) => value.toFixed(2).padStart(9),
    )
    print(
      `${(list.length < ROUNDS ? `${name} *` : name).padEnd(30)}${cells.join('')}${row.memory.toFixed(0).padStart(9)}${size > 0 ? size.toFixed(1).padStart(9) : ''}`,
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
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]))
  const sizes = new Map<string, number>()
  for (let round = 0; round < ROUNDS; round++)
    for (const contender of contenders.filter(({ slow }) => round === 0 || slow !== true)) {
      const { sample, size } = measure(contender, layers, flat)
      samples.get(contender.name)?.push(sample)
      sizes.set(contender.name, size)
    }
  report(image, (JSON.parse(answer) as { bytes: number }).bytes, samples, sizes)
}
for (const name of ['out', 'tree']) rmSync(join(DIRECTORY, name), { recursive: true, force: true })
