// SPDX-License-Identifier: Apache-2.0
/** A conversion that marks who needs an MPI: the scan of its image finds the same users, and reads no others. */
import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { ImageScan, Marks, Native } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { hasProgram } from '../reader/lab.js'
import { file, hardlink, tar } from './tar_writer.js'

const DIST = process.env.BERTH_TEST_DIST ?? join(import.meta.dirname, '../../../dist')
const ADDON = join(DIST, 'berth.node')
const native = (existsSync(ADDON) ? createRequire(import.meta.url)(ADDON) : {}) as Native
const missing = !hasProgram('cc') ? 'cc' : native.squash === undefined ? 'npm run build' : ''
const folder = mkdtempSync(join(tmpdir(), 'berth-marks-'))
const test = suite('squash marks')
test.after(() => rmSync(folder, { recursive: true }))

/** More than what is kept of a file's beginning. */
const LARGE = 300_000

function compile(name: string, source: string, flags: readonly string[] = []): Buffer {
  const [code, out] = [join(folder, `${name}.c`), join(folder, name)]
  writeFileSync(code, source)
  execFileSync('cc', ['-O0', '-Wl,--no-as-needed', '-o', out, code, ...flags])
  return readFileSync(out)
}

/** What an image holds: an MPI, and programs whose headers, names and dynamic section lie near and far. */
function makeFiles(): Record<string, Buffer> {
  const library = ['-shared', '-fPIC', '-Wl,-soname,libmpi.so.12']
  const mpi = compile('libmpi.so.12', 'int MPI_Init(void) { return 0; }', library)
  const use = ['-L', folder, '-l:libmpi.so.12']
  const call = 'int MPI_Init(void); int main(void) { return MPI_Init(); }'
  const plain = 'int main(void) { return 0; }'
  const bulk = `const char bulk[${LARGE}] = {1, 2, 3};`
  const functions = Array.from(
    { length: 6000 },
    (_, i) => `int a_function_of_many_${i}(void) { return ${i}; }`,
  )
  const many = [...functions, call].join('\n')
  return {
    'usr/lib/libmpi.so.12': mpi,
    'usr/bin/small': compile('small', call, use),
    'usr/bin/small-plain': compile('small-plain', plain),
    'usr/bin/large': compile('large', `${bulk} ${call}`, use),
    'usr/bin/large-plain': compile('large-plain', `${bulk} ${plain}`),
    'usr/bin/names': compile('names', many, [...use, '-rdynamic']),
    'usr/bin/script': Buffer.from(`#!/bin/sh\n${'# libmpi.so.12\n'.repeat(100)}`),
    'usr/bin/cut': compile('small', call, use).subarray(0, 2000),
    'usr/bin/data': Buffer.alloc(LARGE, 'libmpi.so.12'),
  }
}

const files = missing === '' ? makeFiles() : {}
const USERS = ['usr/bin/large', 'usr/bin/link', 'usr/bin/names', 'usr/bin/same', 'usr/bin/small']

function layer(): Buffer {
  const entries = Object.entries(files).map(([name, content]) => file(name, content, { mode: 0o755 }))
  const small = files['usr/bin/small'] ?? ''
  return tar(
    ...entries,
    file('usr/bin/same', small, { mode: 0o755 }),
    hardlink('usr/bin/link', 'usr/bin/large'),
  )
}

interface Made {
  path: string
  marks: Marks | undefined
}

async function convert(layers: readonly Buffer[], markNeeded?: string[], reused?: string): Promise<Made> {
  const path = join(mkdtempSync(join(folder, 'made-')), 'image')
  const fd = openSync(path, 'w+')
  const images = reused === undefined ? [] : [openSync(reused, 'r')]
  const engine = native.squash({
    ...{ fd, layers: layers.length, compressor: 'zstd', level: 1, blockSize: 131_072, threads: 2 },
    ...{ bytesMax: 1e12, entriesMax: 1e6, capture: [] },
    ...(markNeeded === undefined ? {} : { markNeeded }),
    ...(images.length === 0 ? {} : { reuse: { images, layers: [{ layer: 0, image: 0, at: 0 }] } }),
  })
  for (const [index, bytes] of layers.entries()) {
    if (index === 0 && images.length > 0) continue
    await engine.write(index, bytes)
    await engine.end(index)
  }
  assert.equal(await engine.missing(), [])
  const { marks } = await engine.finish()
  for (const one of [fd, ...images]) closeSync(one)
  return { path, marks }
}

async function scan({ path, marks }: Made): Promise<ImageScan> {
  const fd = openSync(path, 'r')
  const options = { prefixes: ['libmpi'], exporters: ['libmpi'], texts: {}, threads: 2 }
  try {
    return await native.scanImage(fd, marks === undefined ? options : { ...options, marks })
  } finally {
    closeSync(fd)
  }
}

const usersOf = ({ found }: ImageScan): string[] =>
  found.flatMap(({ path, exporter }) => (exporter ? [] : [path])).sort()

test.needs(missing, 'the same users are found with marks and without', async () => {
  const made = await convert([layer()], ['libmpi'])
  assert.ok(made.marks !== undefined)
  const seen = await scan(made)
  assert.equal(usersOf(seen), USERS)
  assert.equal(seen, await scan({ ...made, marks: undefined }))
  for (const { path, exporter, wants } of seen.found) if (!exporter) assert.equal(wants, ['MPI_Init'], path)
})

test.needs(missing, 'what was not marked is not read', async () => {
  const made = await convert([layer()], ['libnobody'])
  // What is kept of a file does not tell of the one whose names lie far from its beginning.
  assert.equal(usersOf(await scan(made)), ['usr/bin/names'])
})

test.needs(missing, 'the image is the same, byte for byte, whether somebody marks or not', async () => {
  const [marked, plain] = [await convert([layer()], ['libmpi']), await convert([layer()])]
  assert.is(plain.marks, undefined)
  assert.ok(readFileSync(marked.path).equals(readFileSync(plain.path)))
})

test.needs(
  missing,
  'users in a layer that another image has are found, and so are those above it',
  async () => {
    const lower = layer()
    const upper = tar(
      file(
        'opt/app',
        compile('app', 'int MPI_Init(void); int main(void) { return MPI_Init() + 1; }', [
          '-L',
          folder,
          '-l:libmpi.so.12',
        ]),
        { mode: 0o755 },
      ),
    )
    const base = await convert([lower])
    const made = await convert([lower, upper], ['libmpi'], base.path)
    assert.equal(usersOf(await scan(made)), ['opt/app', ...USERS])
  },
)

test.needs(missing, 'anything else in place of marks is none', async () => {
  const made = await convert([layer()])
  for (const marks of [{}, 7, Buffer.alloc(64)])
    assert.equal(usersOf(await scan({ ...made, marks: marks as unknown as Marks })), USERS)
})

test.run()
