// SPDX-License-Identifier: Apache-2.0
/** Whole images of Debian packages, as the bench makes them (npm run bench convert), against overlayfs and umoci. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
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
  const layout = bench.path('layout')
  run('umoci', 'init', '--layout', layout)
  run('umoci', 'new', '--image', `${layout}:x`)
  for (const layer of layers) {
    run('sh', '-ec', `gzip -dc ${layer} > ${bench.path('layer.tar')}`)
    run('umoci', 'raw', 'add-layer', '--image', `${layout}:x`, bench.path('layer.tar'))
  }
  run('umoci', 'unpack', '--image', `${layout}:x`, bench.path('bundle'))
  return bench.path('bundle/rootfs')
}

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
