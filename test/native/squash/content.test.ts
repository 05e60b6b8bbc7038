// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { dir, file, type TarEntry, tar } from './tar_writer.js'
import { Bench, build, run } from './workbench.js'

const test = suite('squash content')
const bench = new Bench(build())
test.after(() => bench.close())

test("user xattrs and file capabilities stay, overlay's own and labels go", () => {
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex')
  const seen = bench.merged([
    file('f', 'x', {
      pax: {
        'SCHILY.xattr.user.note': 'hello',
        'SCHILY.xattr.security.capability': capability,
        'SCHILY.xattr.trusted.overlay.opaque': 'y',
        'SCHILY.xattr.user.overlay.opaque': 'y',
        'SCHILY.xattr.security.selinux': 'label',
        'SCHILY.xattr.system.posix_acl_access': 'acl',
      },
    }),
    file('g', 'y', { pax: { 'SCHILY.xattr.user.big': Buffer.alloc(60_000, 65) } }),
    dir('d', { pax: { 'SCHILY.xattr.user.dir': '1' } }),
  ])
  assert.match(seen.get('f') ?? '', / security.capability=0x0100\w+ user.note=0x68656c6c6f$/)
  assert.match(seen.get('d') ?? '', / user.dir=0x31$/)
  assert.is((seen.get('g') ?? '').length > 120_000, true)
})

test('long and odd names and paths of a thousand directories are kept', () => {
  const deep = `${'d/'.repeat(1000)}end`
  const odd = Buffer.from([0x66, 0xff, 0x80, 0x0a, 0x22])
  const layers = bench.save([
    tar(
      file('x', 'deep', { pax: { path: deep } }),
      { name: odd, content: 'odd' },
      file('y', 'long', { pax: { path: 'n'.repeat(255) } }),
    ),
  ])
  assert.is(bench.convert(layers).error, '')
  const root = bench.mount()
  const seen = run('sh', '-c', `cd ${root} && i=0; while [ $i -lt 1000 ]; do cd d; i=$((i+1)); done; cat end`)
  assert.is(seen, 'deep')
  assert.is(fs.readFileSync(Buffer.concat([Buffer.from(`${root}/`), odd]), 'utf8'), 'odd')
  assert.is(fs.readFileSync(`${root}/${'n'.repeat(255)}`, 'utf8'), 'long')
  bench.unmount()
  assert.match(
    bench.convert(bench.save([tar(file('x', '', { pax: { path: 'n'.repeat(256) } }))])).error,
    /^ENAMETOOLONG /,
  )
})

test('a directory of 100,000 names is found, listed and looked up', () => {
  const entries: TarEntry[] = []
  for (let i = 0; i < 100_000; i++) entries.push(file(`many/name-${i}`, '', { uid: i % 7 }))
  const done = bench.convert(bench.save([tar(...entries)]))
  assert.is(done.error, '')
  const root = bench.mount()
  assert.is(fs.readdirSync(`${root}/many`).length, 100_000)
  for (let i = 0; i < 100_000; i += 997) assert.is(fs.statSync(`${root}/many/name-${i}`).uid, i % 7)
  assert.not(fs.existsSync(`${root}/many/name-x`))
  bench.unmount()
  assert.is(run('unsquashfs', '-l', bench.path('image')).split('\n').length > 100_000, true)
})

test('equal files are stored once, equal beginnings do not confuse them', () => {
  const base = randomBytes(1_000_000)
  const tail = Buffer.from(base)
  tail[990_000] = (tail[990_000] ?? 0) ^ 1
  const small = randomBytes(1000)
  const one = bench.convert(bench.save([tar(file('a', base), file('s', small))]))
  const contents = { a: base, b: base, c: tail, d: tail, s: small, t: small }
  const all = bench.convert(
    bench.save([tar(...Object.entries(contents).map(([name, content]) => file(name, content)))]),
  )
  assert.is(all.error, '')
  assert.is(all.size < one.size + 1_010_000, true)
  const root = bench.mount()
  for (const [name, content] of Object.entries(contents))
    assert.equal(fs.readFileSync(`${root}/${name}`), content)
  bench.unmount()
})

test('noise is stored as it is, text is packed', () => {
  const noise = randomBytes(2 * 131_072)
  const text = Buffer.from('all work and no play\n'.repeat(12_500)).subarray(0, noise.length)
  for (const compressor of ['zstd', 'lz4', 'gzip']) {
    const done = bench.convert(bench.save([tar(file('noise', noise), file('text', text))]), { compressor })
    assert.is(done.error, '')
    const image = fs.readFileSync(bench.path('image'))
    assert.ok(image.includes(noise), `${compressor}: both blocks of the noise, side by side`)
    assert.not(image.includes(text.subarray(1000, 5000)), compressor)
    assert.ok(image.length < noise.length + 16_384, `${compressor}: ${image.length}`)
    const root = bench.mount()
    assert.ok(fs.readFileSync(`${root}/noise`).equals(noise), compressor)
    assert.ok(fs.readFileSync(`${root}/text`).equals(text), compressor)
    bench.unmount()
  }
})

test('a thousand small files share one block', () => {
  const contents = Array.from({ length: 1000 }, () => randomBytes(100))
  const done = bench.convert(bench.save([tar(...contents.map((content, i) => file(`f${i}`, content)))]))
  assert.is(done.error, '')
  assert.match(run('unsquashfs', '-s', bench.path('image')), /^Number of fragments 1$/m)
  const root = bench.mount()
  for (const [i, content] of contents.entries()) assert.equal(fs.readFileSync(`${root}/f${i}`), content)
  bench.unmount()
})

test.run()
