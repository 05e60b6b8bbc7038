// SPDX-License-Identifier: Apache-2.0
/** An image of all hard cases, as overlayfs shows its layers, read by every reader of squashfs that can be had. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { unpackOf } from './other_suite.js'
import { dir, END, entry, file, hardlink, opaque, padded, symlink, tar, whiteout } from './tar_writer.js'
import { Bench, build, differences, list, run } from './workbench.js'

/** Debian 13: unsquashfs 4.6, two years younger than that of Debian 12, and it runs there. */
const OTHER_SUITE = 'trixie'

const test = suite('squash readers')
const needed = process.getuid?.() === 0 ? '' : 'root, to mount'
const bench = new Bench(needed === '' ? build() : '')
test.after(() => bench.close())

const ODD = Buffer.from([0x66, 0xff, 0x80, 0x0a, 0x22, 0x5c])
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex')
const DEEP = 'd/'.repeat(1000)
const holes = (name: string, size: number, tail: string) =>
  file(
    'sparse',
    Buffer.concat([padded(Buffer.from(`1\n${size - tail.length}\n${tail.length}\n`)), Buffer.from(tail)]),
    {
      pax: {
        ...{ 'GNU.sparse.major': '1', 'GNU.sparse.minor': '0' },
        ...{ 'GNU.sparse.name': name, 'GNU.sparse.realsize': String(size) },
      },
    },
  )

const LAYERS = [
  tar(
    dir('swap'),
    file('swap/in'),
    symlink('turn', 'swap'),
    file('low', randomBytes(400_000), { mode: 0o640, uid: 3_000_000, gid: 2 ** 32 - 2 }),
    dir('gone'),
    file('gone/old', 'old'),
    dir('gone/sub'),
    file('gone/sub/older', 'older'),
    file('hidden', randomBytes(150_000)),
    file('suid', 'x', { mode: 0o6755 }),
    file('empty', ''),
    file('x', 'deep', { pax: { path: `${DEEP}end` } }),
    file('zeros', Buffer.alloc(700_000)),
  ),
  tar(
    symlink('swap', 'elsewhere'),
    dir('turn'),
    file('turn/over', 'o'),
    hardlink('second', 'low'),
    hardlink('kept', 'hidden'),
    whiteout('', 'gone'),
    { name: ODD, content: 'odd' },
    file('noted', 'n', { pax: { 'SCHILY.xattr.user.note': 'hello', 'SCHILY.xattr.user.empty': '' } }),
    file('able', 'a', { pax: { 'SCHILY.xattr.security.capability': CAPABILITY } }),
    { name: 'null', type: '3', device: [1, 3], mode: 0o666 },
    { name: 'disk', type: '4', device: [259, 70000], mode: 0o660 },
    { name: 'pipe', type: '6', mode: 0o600 },
    holes('holes', 20_000_000, 'the end'),
    ...Array.from({ length: 300 }, (_, i) => file(`many-${i}`, `${i}`.repeat(i), { uid: i % 5, mtime: i })),
  ),
  tar(
    dir('swap', { mode: 0o711 }),
    file('swap/again'),
    symlink('turn', 'swap'),
    whiteout('', 'hidden'),
    dir('gone', { mode: 0o1777, uid: 7 }),
    opaque('gone/'),
    file('gone/new', 'new'),
    hardlink('third', 'second'),
  ),
]

let image = ''
let kernel = new Map<string, string>()

test.before(() => {
  if (needed !== '') return
  image = bench.path('image')
  assert.is(bench.convert(bench.save(LAYERS)).error, '')
  kernel = list(bench.mount(image))
})

const without = (pattern: RegExp) => (listing: Map<string, string>) =>
  new Map([...listing].map(([name, line]) => [name, line.replace(pattern, '')]))
const withoutCapability = without(/ security.capability=\S+/)
/** Of names that are one file: how they are called, and how many. */
const withoutGroups = without(/ links \d+ \S+/)

test.needs(needed, 'hard cases across layers are as each layer on its own says', () => {
  const line = (name: string) => kernel.get(name) ?? ''
  assert.match(line('low'), /^100640 3000000 4294967294 .* links 3 low$/)
  for (const name of ['second', 'third']) assert.is(line(name), line('low'))
  assert.match(line('kept'), /^100644 0 0 \d+ 150000 /)
  assert.not(kernel.has('hidden'))
  assert.match(line('swap'), /^40711 /)
  assert.equal(
    [...kernel.keys()].filter((name) => /^(swap|turn|gone)\//.test(name)),
    ['gone/new', 'swap/again'],
  )
  assert.match(line('turn'), /^120777 .* swap$/)
  assert.match(line('gone'), /^41777 7 /)
  assert.match(line(`${DEEP}end`), /^100644 /)
  assert.match(line(ODD.toString('latin1')), /^100644 0 0 \d+ 3 /)
  assert.match(line('noted'), / user.empty user.note=0x68656c6c6f$| user.empty=0x user.note=0x68656c6c6f$/)
  assert.match(line('able'), / security.capability=0x0100/)
})

/** A fresh folder, and what `fill` leaves in it. */
function unpacked(fill: (folder: string) => void): Map<string, string> {
  const folder = fs.mkdtempSync(bench.path('unpacked-'))
  fill(folder)
  const seen = list(folder)
  fs.rmSync(folder, { recursive: true })
  return seen
}

test.needs(needed, 'unsquashfs of this Debian reads the same', () => {
  const seen = unpacked((folder) => run('unsquashfs', '-q', '-n', '-f', '-d', folder, image))
  assert.equal(differences(seen, kernel, true), [])
})

const other = needed === '' ? bench.path('other') : ''
const version = needed === '' ? unpackOf(OTHER_SUITE, 'squashfs-tools', other) : undefined
const noOther = needed === '' && version === undefined ? `apt cannot reach ${OTHER_SUITE}` : needed

test.needs(noOther, `unsquashfs of ${OTHER_SUITE} reads the same`, () => {
  const program = `${other}/files/usr/bin/unsquashfs`
  const own = run('dpkg-query', '-W', '-f', `\${Version}`, 'squashfs-tools')
  assert.is.not(own, version)
  const seen = unpacked((folder) => run(program, '-q', '-n', '-f', '-d', folder, image))
  assert.equal(differences(seen, kernel, true), [])
})

test.needs(needed, 'rdsquashfs and sqfs2tar of squashfs-tools-ng read the same', () => {
  // rdsquashfs makes a file of its own of each name, and gives it its owner last, which takes capabilities away.
  const plain = unpacked((folder) =>
    run('rdsquashfs', '-q', '-X', '-T', '-C', '-O', '-u', '/', '-p', folder, image),
  )
  assert.equal(differences(withoutGroups(plain), withoutCapability(withoutGroups(kernel))), [])
  assert.match(run('rdsquashfs', '-x', '/able', image), 'security.capability')
  const archive = bench.path('again.tar')
  run('sh', '-ec', `sqfs2tar -s -r . '${image}' > '${archive}'`)
  const options = ['--numeric-owner', '--same-owner', '-p', '--xattrs', '--xattrs-include=*', '-xf', archive]
  const seen = unpacked((folder) => run('tar', '-C', folder, '--delay-directory-restore', ...options))
  assert.equal(differences(seen, kernel, true), [])
})

const noFuse = fs.existsSync('/dev/fuse') ? needed : needed || '/dev/fuse'

test.needs(noFuse, 'squashfuse reads the same', () => {
  const point = fs.mkdtempSync(bench.path('fuse-'))
  const fuse = spawnSync('squashfuse', [image, point], { encoding: 'utf8' })
  assert.is(fuse.status, 0, fuse.stderr)
  try {
    // squashfuse shows no capabilities and no empty attributes.
    const shown = (listing: Map<string, string>) =>
      withoutCapability(without(/ user.empty=0x(?= |$)/)(listing))
    // High-level FUSE numbers inodes by path, so it cannot show which names are one file.
    assert.equal(differences(withoutGroups(list(point)), shown(withoutGroups(kernel)), true), [])
  } finally {
    run('umount', '-l', point)
  }
})

test.needs(needed, 'a sparse file of a terabyte and one over 4 GiB are read at their ends by all', () => {
  const size = 2 ** 32 + 123_456
  const layer = Buffer.concat([
    entry(holes('large', size, 'tail!')),
    entry(holes('huge', 2 ** 40, 'tail?')),
    END,
  ])
  const sparse = bench.path('sparse')
  assert.is(bench.convert(bench.save([layer]), {}, sparse).error, '')
  const root = bench.mount(sparse)
  assert.is(run('tail', '-c', '7', `${root}/huge`), '\0\0tail?')
  const folder = bench.path('large')
  for (const program of noOther === ''
    ? ['unsquashfs', `${other}/files/usr/bin/unsquashfs`]
    : ['unsquashfs']) {
    run(program, '-q', '-n', '-f', '-d', folder, sparse, 'large')
    const { size: found, blocks } = fs.statSync(`${folder}/large`)
    assert.is(found, size)
    assert.ok(blocks * 512 < 1_000_000, `${blocks} blocks`)
    assert.is(run('tail', '-c', '7', `${folder}/large`), '\0\0tail!')
    fs.rmSync(folder, { recursive: true })
    assert.match(run(program, '-lln', sparse), new RegExp(` ${2 ** 40} .*huge`))
  }
  assert.match(run('rdsquashfs', '-s', '/large', sparse), new RegExp(`${size}`))
})

test.needs(needed, "POSIX ACLs are not kept, and what their mask allowed is not the group's", () => {
  const acl = Buffer.from(
    '02000000010006 00ffffffff020007 0001000000040004 00ffffffff100007 00ffffffff200000 00ffffffff'.replaceAll(
      ' ',
      '',
    ),
    'hex',
  )
  const layer = tar(
    file('f', 'x', {
      mode: 0o670,
      pax: { 'SCHILY.xattr.system.posix_acl_access': acl, 'SCHILY.xattr.user.kept': 'y' },
    }),
    file('text', 'x', {
      mode: 0o670,
      pax: { 'SCHILY.acl.access': 'user::rw-,user:1:rwx,group::r-x,mask::rwx,other::---' },
    }),
    file('damaged', 'x', {
      mode: 0o670,
      pax: { 'SCHILY.xattr.system.posix_acl_access': acl.subarray(0, 23), 'SCHILY.acl.access': 'group:' },
    }),
  )
  const path = bench.path('acl')
  assert.is(bench.convert(bench.save([layer]), {}, path).error, '')
  const root = bench.mount(path)
  assert.match(list(root).get('f') ?? '', /^100640 .* user.kept=0x79$/)
  assert.match(list(root).get('text') ?? '', /^100650 /)
  assert.match(list(root).get('damaged') ?? '', /^100670 /)
  assert.is(run('getfattr', '-d', '-m', '-', '--only-values', `${root}/f`), 'y')
  assert.not.match(run('getfacl', '-n', '-p', `${root}/f`), /user:1:|mask/)
  // What the kernel says to who asks for one.
  const asked = spawnSync('getfattr', ['-n', 'system.posix_acl_access', `${root}/f`], { encoding: 'utf8' })
  assert.match(asked.stderr, /Operation not supported/)
})

test.run()
