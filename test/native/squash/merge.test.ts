// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { dir, file, hardlink, opaque, symlink, type TarEntry, tar, whiteout } from './tar_writer.js'
import { Bench, build, differences, list, run } from './workbench.js'

const test = suite('squash merge')
const bench = new Bench(build())
test.after(() => bench.close())

/** The same as overlayfs over layers that were unpacked one by one. */
function sameAsOverlay(...layers: TarEntry[][]): void {
  const files = bench.save(layers.map((entries) => tar(...entries)))
  const done = bench.convert(files)
  assert.is(done.error, '')
  const own = list(bench.mount())
  const reference = list(bench.overlay(files))
  bench.unmount()
  assert.equal(differences(own, reference), [])
}

const withoutGroups = (listing: Map<string, string>): Map<string, string> =>
  new Map([...listing].map(([name, line]) => [name, line.replace(/ links (\d+) \S+/, ' links $1')]))

const names = (listing: Map<string, string>): string[] =>
  [...listing.keys()].filter((name) => name !== '').sort()

test('modes, owners, times, links, devices and fifos arrive as overlayfs shows them', () => {
  sameAsOverlay([
    dir('d', { mode: 0o1777, uid: 5, gid: 6, mtime: 12345 }),
    file('d/suid', 'x', { mode: 0o6755, uid: 3_000_000, gid: 4_000_000_000 }),
    file('empty', ''),
    file('big', randomBytes(700_000), { mtime: 4_000_000_000 }),
    file('zeros', Buffer.alloc(1_000_000)),
    hardlink('d/again', 'big'),
    symlink('d/link', '../big'),
    symlink('dangling', '/no/where'),
    { name: 'null', type: '3', device: [1, 3], mode: 0o666 },
    { name: 'disk', type: '4', device: [259, 70000], mode: 0o660 },
    { name: 'pipe', type: '6', mode: 0o600 },
  ])
})

test('whiteouts hide names of lower layers only', () => {
  sameAsOverlay(
    [dir('a'), file('a/1'), file('a/2'), dir('b'), file('b/deep'), file('c')],
    [dir('a'), whiteout('a/', '1'), whiteout('', 'b'), whiteout('', 'c'), file('c', 'new')],
    [dir('b'), file('b/fresh')],
  )
})

test('content that an upper layer hides is not in the image', () => {
  const noise = randomBytes(10_000_000)
  for (const [how, ...layers] of [
    ['a whiteout', [file('big', noise), file('kept')], [whiteout('', 'big')]],
    ['an opaque directory', [dir('d'), file('d/big', noise)], [dir('d'), opaque('d/')]],
    ['a file of that name', [file('big', noise)], [file('big', 'small')]],
  ] as const) {
    const done = bench.convert(bench.save(layers.map((entries) => tar(...entries))))
    assert.is(done.error, '', how)
    assert.ok(done.size <= 16_384, `${how}: ${done.size} bytes`)
    assert.is(fs.statSync(bench.path('image')).size, done.size)
  }
})

test('an opaque directory hides lower content and keeps its own, whichever comes first', () => {
  sameAsOverlay(
    [dir('a'), file('a/old'), dir('a/sub'), file('a/sub/x')],
    [dir('a'), file('a/new'), opaque('a/'), file('a/newer')],
  )
})

test('a directory that was removed and comes back does not bring old content', () => {
  sameAsOverlay([dir('d'), file('d/old')], [whiteout('', 'd')], [dir('d', { mode: 0o700 }), file('d/new')])
  sameAsOverlay([dir('d'), file('d/old')], [file('d', 'a file')], [dir('d', { mode: 0o711 })])
})

test('directories, symlinks and files replace each other across layers', () => {
  sameAsOverlay(
    [dir('x'), file('x/in'), symlink('y', 'x'), file('z')],
    [symlink('x', 'other'), dir('y'), file('y/in'), dir('z'), file('z/in')],
    [dir('x'), file('x/again'), symlink('y', 'z'), symlink('z', 'x')],
  )
})

test('what a file has replaced stays away, and what comes after it is there, however often', () => {
  const again = [file('d', 'a file'), dir('d')]
  const cases: [string[], TarEntry[]][] = [
    [
      ['d', 'd/c'],
      [dir('d'), file('d/a'), ...again, file('d/b'), ...again, file('d/c')],
    ],
    [
      ['d', 'd/e', 'd/e/h'],
      [file('d/e/f'), ...again, ...again, file('d/e/h')],
    ],
    [['d'], [file('d/e/f'), ...again, file('d/e/g'), ...again]],
    [['d'], [file('d/e/f'), file('d/e'), dir('d/e'), file('d/e/f'), ...again]],
    [
      ['d', 's'],
      [dir('d'), symlink('s', 'd'), file('d/a'), ...again, file('s/x'), ...again],
    ],
  ]
  for (const [wanted, entries] of cases) assert.equal(names(bench.merged(entries)), wanted)
})

test('a parent that only a lower layer has as a symlink becomes a directory', () => {
  sameAsOverlay(
    [dir('usr'), dir('usr/lib'), file('usr/lib/a'), symlink('lib', 'usr/lib')],
    [dir('lib'), file('lib/b')],
  )
})

test('a parent that the same layer made a symlink is followed', () => {
  const seen = bench.merged([
    dir('usr'),
    dir('usr/lib'),
    symlink('lib', '/usr/lib'),
    file('lib/b', 'content'),
  ])
  assert.equal(names(seen), ['lib', 'usr', 'usr/lib', 'usr/lib/b'])
})

test("the layer's own symlink is followed even where an upper layer hides it", () => {
  const seen = bench.merged([dir('usr'), symlink('lib', 'usr'), file('lib/b')], [whiteout('', 'lib')])
  assert.equal(names(seen), ['usr', 'usr/b'])
})

test('names with .., with a leading slash and through escaping symlinks stay inside the root', () => {
  const seen = bench.merged([
    file('../../up', '1'),
    file('/abs', '2'),
    file('a/../../b', '3'),
    symlink('out', '../../../..'),
    file('out/inside', '4'),
    symlink('etc', '/../etc2'),
    file('etc/passwd', '5'),
    hardlink('hard', '../../up'),
  ])
  assert.equal(names(seen), ['abs', 'b', 'etc', 'etc2', 'etc2/passwd', 'hard', 'inside', 'out', 'up'])
})

test('the last of several entries of one name in a layer wins', () => {
  const seen = bench.merged([
    file('f', 'first'),
    file('f', 'second', { mode: 0o600 }),
    dir('d'),
    file('d/x'),
    file('d', 'file'),
    symlink('s', 'f'),
    dir('s'),
    file('s/y'),
  ])
  assert.equal(names(seen), ['d', 'f', 's', 's/y'])
  assert.match(seen.get('f') ?? '', /^100600 /)
  assert.match(seen.get('d') ?? '', /^100644 /)
})

test("directories without an entry of their own are root's, or what a lower layer says", () => {
  const seen = bench.merged(
    [dir('known', { mode: 0o750, uid: 9 })],
    [file('known/x'), file('new/deep/y'), whiteout('never/', 'was')],
  )
  assert.match(seen.get('known') ?? '', /^40750 9 0 /)
  assert.match(seen.get('new/deep') ?? '', /^40755 0 0 0/)
  assert.not(seen.has('never'))
})

test('hard links to a file of a lower layer share its inode', () => {
  const seen = bench.merged(
    [file('low', 'data', { mode: 0o640, uid: 7 })],
    [dir('up'), hardlink('up/a', 'low')],
    [hardlink('top', 'up/a')],
  )
  for (const name of ['low', 'up/a', 'top']) assert.match(seen.get(name) ?? '', /^100640 7 .* links 3 low$/)
})

test('hard links to a lower file that an upper layer removed or replaced keep the content', () => {
  const seen = bench.merged(
    [file('low', 'data')],
    [hardlink('a', 'low'), hardlink('b', 'low')],
    [whiteout('', 'low')],
  )
  assert.equal(names(seen), ['a', 'b'])
  assert.match(seen.get('a') ?? '', /links 2 a$/)
})

test('a hard link to a hidden file of its own layer needs that layer once more', () => {
  const layers = bench.save([
    tar(
      file('cache', randomBytes(300_000)),
      hardlink('hidden2', 'cache'),
      hardlink('kept', 'hidden2'),
      symlink('l', 'x'),
      hardlink('l2', 'l'),
    ),
    tar(whiteout('', 'cache'), whiteout('', 'hidden2'), whiteout('', 'l')),
  ])
  const done = bench.convert(layers)
  assert.is(done.error, '')
  assert.is(done.again, 1)
  const root = bench.mount()
  assert.equal(names(list(root)), ['kept', 'l2'])
  assert.is(fs.statSync(`${root}/kept`).size, 300_000)
  assert.is(fs.readlinkSync(`${root}/l2`), 'x')
  bench.unmount()
  assert.match(
    bench.convert(layers, { again: 'no' }).error,
    /^ENODATA .*needs a layer a second time: hard link "kept"/,
  )
})

test('a hard link to nothing names both names and the layer', () => {
  const error = (...layers: TarEntry[][]): string =>
    bench.convert(bench.save(layers.map((entries) => tar(...entries)))).error
  assert.match(
    error([hardlink('a', 'nowhere')]),
    /^EBADMSG tar layer 0: hard link "a" to "nowhere", which no layer below has/,
  )
  assert.match(
    error([file('x')], [whiteout('', 'x')], [hardlink('a', 'x')]),
    /^EBADMSG tar layer 2: hard link "a" to "x"/,
  )
  assert.match(error([dir('d'), hardlink('a', 'd')]), /hard link to a directory/)
})

test('no layers, empty layers and a root without an entry give an empty root', () => {
  for (const layers of [[], [tar()], [Buffer.alloc(0)], [Buffer.alloc(0), tar(dir('./', { mode: 0o700 }))]]) {
    assert.is(bench.convert(bench.save(layers)).error, '')
    const seen = list(bench.mount())
    bench.unmount()
    assert.equal([...seen.keys()], [''])
    assert.match(seen.get('') ?? '', layers.length === 2 ? /^40700 / : /^40755 0 0 0/)
  }
})

test('unsquashfs and squashfuse read what the kernel reads', () => {
  const layers = bench.save([
    tar(
      dir('d'),
      file('d/a', randomBytes(500_000)),
      hardlink('b', 'd/a'),
      file('small', 'x'),
      symlink('l', 'd/a'),
      file('zero', Buffer.alloc(400_000)),
      { name: 'null', type: '3', device: [1, 3] },
    ),
  ])
  for (const compressor of ['zstd', 'lz4', 'gzip', 'none']) {
    assert.is(bench.convert(layers, { compressor }).error, '')
    const kernel = list(bench.mount())
    const unpacked = bench.path('unpacked')
    run('unsquashfs', '-q', '-n', '-d', unpacked, bench.path('image'))
    assert.equal(differences(list(unpacked), kernel, true), [])
    fs.rmSync(unpacked, { recursive: true })
    const point = bench.path('fuse')
    fs.mkdirSync(point, { recursive: true })
    const fuse = spawnSync('squashfuse', [bench.path('image'), point])
    if (fuse.status === 0) {
      const seen = list(point)
      run('umount', point)
      // High-level FUSE numbers inodes by path, so it cannot show which names are one file.
      assert.equal(differences(withoutGroups(seen), withoutGroups(kernel), true), [])
    }
    bench.unmount()
  }
})

test.run()
