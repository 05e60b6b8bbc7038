// SPDX-License-Identifier: Apache-2.0
/** What a gzip layer's own matches become: the same contents, in less time, whatever the compressor was. */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { file, type TarEntry, tar } from './tar_writer.js'
import { Bench, build, list } from './workbench.js'

const test = suite('squash matches')
const bench = new Bench(build())
test.after(() => bench.close())

let seed = 1
/** Numbers below `limit` that are the same in each run. */
function next(limit: number): number {
  seed = (seed * 48271) % 0x7fffffff
  return seed % limit
}

/** Text of words that are often the same. */
function prose(size: number): Buffer {
  const words: string[] = []
  for (let length = 0; length < size; ) {
    const word = `${'aeiou'[next(5)]}${next(next(2) === 0 ? 40 : 4000).toString(26)}`
    words.push(word)
    length += word.length + 1
  }
  return Buffer.from(words.join(' ').slice(0, size))
}

/** A file whose content is `parts` with holes between, as PAX 1.0 has it. */
function sparse(name: string, parts: readonly Buffer[], hole: number): TarEntry {
  const numbers = parts.flatMap((part, i) => [
    i * hole + parts.slice(0, i).reduce((sum, one) => sum + one.length, 0),
    part.length,
  ])
  const map = Buffer.alloc(512)
  map.write(`${[parts.length, ...numbers].join('\n')}\n`)
  const size = (numbers.at(-2) ?? 0) + (numbers.at(-1) ?? 0)
  return file(name, Buffer.concat([map, ...parts]), {
    pax: { 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.realsize': String(size) },
  })
}

let made: Buffer | undefined
function archive(): Buffer {
  made ??= makeArchive()
  return made
}

/** Small files that are like each other, large ones, equal ones, runs, noise, and sparse ones. */
function makeArchive(): Buffer {
  const base = prose(3000)
  const small = Array.from({ length: 900 }, (_, i) =>
    file(`small/${i}`, Buffer.concat([base.subarray(next(1000), 1500 + next(1500)), prose(next(400))])),
  )
  const part = prose(9_000)
  return tar(
    file('large', prose(700_000)),
    ...small.slice(0, 500),
    file('again', Buffer.concat([prose(50), prose(200_000)])),
    ...small.slice(300, 400).map((one, i) => ({ ...one, name: `equal/${i}` })),
    file('runs', Buffer.concat([Buffer.alloc(300_000, 'ab'), prose(5_000), Buffer.alloc(140_000, 7)])),
    file('noise', Buffer.from(Array.from({ length: 150_000 }, () => next(256)))),
    sparse('holes/small', [part, part.subarray(100), part.subarray(3)], 4_096),
    sparse('holes/large', [part, part.subarray(1), part.subarray(77)], 200_000),
    sparse('holes/odd', [part.subarray(0, 3000), part, part.subarray(0, 5000)], 70_001),
    ...small.slice(500),
  )
}

test('the contents are those of the layer, for each block size and each way to compress it', () => {
  const plain = archive()
  const [uncompressed] = bench.save([plain]) as [string]
  assert.is(bench.convert([uncompressed]).error, '')
  const expected = [...list(bench.mount())]
  bench.unmount()
  for (const level of [1, 6])
    for (const block of [4096, 131_072, 1_048_576]) {
      const layers = bench.save([gzipSync(plain, { level })])
      assert.is(bench.convert(layers, { block }).error, '')
      assert.equal([...list(bench.mount())], expected, `level ${level}, blocks of ${block}`)
      bench.unmount()
    }
})

test('a match across the zeros of a sparse file is not taken for a nearer one', () => {
  const noise = Buffer.from(Array.from({ length: 3000 }, () => next(256)))
  const layer = gzipSync(
    tar(
      // Blocks that are good by their matches: those behind them are then not tried both ways.
      file('large', prose(700_000)),
      file('text', prose(600)),
      file('first', noise),
      sparse('zeros', [prose(512), Buffer.from('end')], 90_000),
      file('second', Buffer.concat([noise, Buffer.from('.')])),
    ),
  )
  assert.is(bench.convert(bench.save([layer])).error, '')
  const root = bench.mount()
  assert.ok(fs.readFileSync(`${root}/second`).subarray(0, noise.length).equals(noise))
  bench.unmount()
})

test('each match holds, in blocks of any size, where a build compares them all', () => {
  const checked = new Bench(build('native/squash/convert_cli.cc', { flavour: 'sanitized' }))
  try {
    const layers = [1, 6].flatMap((level) => checked.save([gzipSync(archive(), { level })]))
    for (const layer of layers)
      for (const block of [4096, 131_072, 1_048_576])
        assert.is(checked.convert([layer], { block }).error, '', `blocks of ${block}`)
  } finally {
    checked.close()
  }
})

test('an image is hardly larger than one made by a search, even if the layer was compressed in haste', () => {
  const plain = archive()
  const imageOf = (layer: Buffer): Buffer => {
    assert.is(bench.convert(bench.save([layer])).error, '')
    return fs.readFileSync(bench.path('image'))
  }
  const searched = imageOf(plain)
  for (const level of [1, 4, 6, 9]) {
    const known = imageOf(gzipSync(plain, { level }))
    assert.not(known.equals(searched), `the matches of level ${level} were not used`)
    assert.ok(known.length < searched.length * 1.05, `level ${level}: ${known.length} of ${searched.length}`)
  }
})

test('the file is the same for 1, 2 and 8 threads and for parts of any size', () => {
  const layers = bench.save([gzipSync(archive(), { level: 6 })])
  const files = [
    { threads: 1 },
    { threads: 2, chunk: 5_000, seed: 7 },
    { threads: 8, chunk: 100_000, seed: 3 },
  ].map((keys) => {
    assert.is(bench.convert(layers, keys).error, '')
    return fs.readFileSync(bench.path('image')).toString('base64')
  })
  assert.is(new Set(files).size, 1)
})

test("the decoder answers as zlib's does, to streams of each kind, whole and damaged", () => {
  const program = build('native/squash/deflate_main.cc', { flavour: 'sanitized' })
  const done = spawnSync(program, ['200', String(process.pid)], { encoding: 'utf8' })
  assert.is(done.stderr, '', `seed ${process.pid}`)
  assert.is(done.status, 0)
  const [, whole, damaged, matches] = /^(\d+) whole, (\d+) damaged, (\d+) matches\n$/.exec(done.stdout) ?? []
  assert.ok(Number(whole) > 60 && Number(damaged) > 30 && Number(matches) > 50_000, done.stdout)
})

test.run()
