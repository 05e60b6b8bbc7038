// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { END, entry } from './tar_writer.js'
import { Bench, build, run } from './workbench.js'

/** Issue 5: whatever the image. */
const MEGABYTES_MAX = 64

const test = suite('squash memory')
const bench = new Bench(build())
test.after(() => bench.close())

function peakMegabytes(layers: readonly string[], ...options: string[]): number {
  const done = spawnSync(
    '/usr/bin/time',
    ['-f', '%M', bench.program, ...options, bench.path('image'), ...layers],
    {
      encoding: 'utf8',
    },
  )
  assert.is(done.status, 0, done.stderr)
  return Number(done.stderr.trim()) / 1024
}

test(`three layers of 200 MB sent side by side take less than ${MEGABYTES_MAX} MB`, () => {
  const layers = [0, 1, 2].map((i) => {
    const path = bench.path(`large${i}`)
    const fd = fs.openSync(path, 'w')
    for (let j = 0; j < 20; j++) {
      const half = randomBytes(5_000_000)
      fs.writeSync(
        fd,
        entry({ name: `f${i}-${j}`, content: Buffer.concat([half, Buffer.alloc(5_000_000, j)]) }),
      )
    }
    fs.writeSync(fd, END)
    fs.closeSync(fd)
    run('gzip', '-1', path)
    return `${path}.gz`
  })
  for (const threads of ['1', '8'])
    assert.is(peakMegabytes(layers, '-threads', threads) < MEGABYTES_MAX, true)
})

test('200,000 empty files take less than 200 bytes each', () => {
  const path = bench.path('many')
  const fd = fs.openSync(path, 'w')
  for (let i = 0; i < 200; i++)
    fs.writeSync(
      fd,
      Buffer.concat(Array.from({ length: 1000 }, (_, j) => entry({ name: `d${i}/file-${j}` }))),
    )
  fs.writeSync(fd, END)
  fs.closeSync(fd)
  const empty = peakMegabytes([])
  assert.is(((peakMegabytes([path]) - empty) * 1024 * 1024) / 200_000 < 200, true)
})

test.run()
