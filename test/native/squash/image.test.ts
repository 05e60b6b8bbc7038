// SPDX-License-Identifier: Apache-2.0
/** Whole images against overlayfs and umoci: some made here, and those of Debian packages that npm run bench convert makes. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { writeLayout } from '../../cluster/layout.js'
import { suite } from '../../suite.js'
import { cudaLike, gccLike, pythonLike } from './lookalikes.js'
import { dir, file, tar } from './tar_writer.js'
import { listedByUnsquashfs, summaries } from './unsquashfs_listing.js'
import { Bench, build, differences, list, run } from './workbench.js'

const IMAGES = process.env.BERTH_BENCH_DIR ?? '/var/tmp/berth-bench'

const test = suite('squash images')
const bench = new Bench(build())
test.after(() => bench.close())

function layersOf(image: string): string[] {
  const directory = join(IMAGES, image)
  const names = readdirSync(directory).filter((name) => name.endsWith('.tgz'))
  return names.sort().map((name) => join(directory, name))
}

/** umoci applies layers one after the other to one directory, unlike overlayfs. */
function unpack(layers: readonly string[]): string {
  const scratch = bench.scratch()
  const layout = join(scratch, 'layout')
  const read = (layer: string) =>
    layer.endsWith('.tgz') ? gunzipSync(readFileSync(layer)) : readFileSync(layer)
  writeLayout(layout, { layers: layers.map(read), compression: 'none' })
  // Without a manifest of what was unpacked, which takes longer than all else.
  run('umoci', 'raw', 'unpack', '--image', `${layout}:latest`, join(scratch, 'root'))
  return join(scratch, 'root')
}

/** overlayfs counts names of a file that upper layers hide: here only those that can be seen. */
function withVisibleLinks(listing: Map<string, string>): Map<string, string> {
  const seen = new Map<string, number>()
  const first = (line: string) => / links \d+ (\S+)/.exec(line)?.[1] ?? ''
  for (const line of listing.values()) seen.set(first(line), (seen.get(first(line)) ?? 0) + 1)
  const links = (_: string, name: string) => (seen.get(name) === 1 ? '' : ` links ${seen.get(name)} ${name}`)
  return new Map([...listing].map(([name, line]) => [name, line.replace(/ links \d+ (\S+)/, links)]))
}

const likenesses = {
  'Python-like': { make: pythonLike, entries: 2500 },
  'GCC-like': { make: gccLike, entries: 350 },
  'CUDA-like': { make: cudaLike, entries: 130 },
}
for (const [name, { make, entries }] of Object.entries(likenesses))
  test(`${name}: every entry is as overlayfs shows it and as umoci unpacks it, with 1 and 8 threads`, () => {
    const layers = bench.save(make().map((layer) => tar(...layer)))
    const sums = [1, 8].map((threads) => {
      assert.is(bench.convert(layers, { threads, seed: threads }).error, '')
      return run('sha256sum', bench.path('image'))
    })
    assert.is(sums[0], sums[1])
    try {
      const own = list(bench.mount())
      assert.ok(own.size > entries, `${own.size} entries`)
      const stacked = list(bench.overlay(layers))
      assert.equal(differences(withVisibleLinks(own), withVisibleLinks(stacked), true), [])
      assert.equal(differences(own, list(unpack(layers))), [])
    } finally {
      bench.unmount()
    }
  })

test('60,000 entries in 13 layers: every entry is as overlayfs shows it and as umoci unpacks it', () => {
  const layers = bench.save(
    [...pythonLike(17), ...gccLike(25), ...cudaLike(25)].map((layer) => tar(...layer)),
  )
  assert.is(bench.convert(layers).error, '')
  try {
    const own = list(bench.mount())
    assert.ok(own.size > 60_000, `${own.size} entries`)
    const stacked = list(bench.overlay(layers))
    assert.equal(differences(withVisibleLinks(own), withVisibleLinks(stacked), true), [])
    assert.equal(differences(own, list(unpack(layers))), [])
    assert.equal(differences(summaries(own), listedByUnsquashfs(bench.path('image')), true), [])
  } finally {
    bench.unmount()
  }
})

test('a file hides what lower layers have there, also where its own layer puts a directory in its place', () => {
  const lower = [dir('d'), file('d/old'), file('d/both', 'lower'), dir('e'), file('e/old')]
  const again = [dir('e'), file('e/both'), file('e', 'a file'), dir('e'), file('e/new')]
  const layers = [
    lower,
    [file('d', 'a file'), dir('d'), file('d/both', 'upper'), ...again],
    [dir('d', { mode: 0o700 }), file('d/top')],
  ]
  const files = bench.save(layers.map((entries) => tar(...entries)))
  assert.is(bench.convert(files).error, '')
  try {
    const own = list(bench.mount())
    assert.equal([...own.keys()].sort(), ['', 'd', 'd/both', 'd/top', 'e', 'e/new'])
    assert.equal(differences(own, list(unpack(files)), true), [])
  } finally {
    bench.unmount()
  }
})

/** The large one takes minutes: BERTH_BENCH_IMAGES='medium large'. */
for (const image of (process.env.BERTH_BENCH_IMAGES ?? 'medium').split(' ')) {
  const missing = existsSync(join(IMAGES, image, '3.tgz')) ? '' : `no ${image} image of npm run bench convert`
  test.needs(missing, `${image}: every entry is as overlayfs shows it, with 1, 2 and 8 threads`, () => {
    const layers = layersOf(image)
    const sums = new Set<string>()
    for (const threads of [1, 2, 8]) {
      assert.is(bench.convert(layers, { threads, seed: threads }).error, '')
      sums.add(run('sha256sum', bench.path('image')).slice(0, 64))
    }
    assert.is(sums.size, 1)
    const reference = list(bench.overlay(layers))
    assert.equal(differences(list(bench.mount()), reference, true), [])
    bench.unmount()
  })
}

const missing = existsSync(join(IMAGES, 'medium', '3.tgz')) ? '' : 'no medium image of npm run bench convert'
test.needs(missing, 'medium: every entry is as umoci unpacks it', () => {
  const layers = layersOf('medium')
  assert.is(bench.convert(layers).error, '')
  assert.equal(differences(list(bench.mount()), list(unpack(layers))), [])
  bench.unmount()
})

test.run()
