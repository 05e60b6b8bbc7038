// SPDX-License-Identifier: Apache-2.0
/** The assembler against overlayfs: a saved image shows what the container showed, and holds nothing else. */
import * as fs from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { NativeError } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { LoopDisk, missingFor } from '../loop_disk.js'
import { attributes, describe, missing, native, run, SaveLab } from './lab.js'

const test = suite('save assemble')
const lab = new SaveLab()
test.after(() => lab.close())

/** Files large and small, odd names, links of both kinds, a hole, every type. */
const BASE = `
cd $T; mkdir -p etc usr/bin opt/deep/er var/empty home/u gone/with/it swap
head -c 3000000 /dev/urandom > usr/bin/large; seq 1 200000 > usr/bin/text; head -c 130000 /dev/zero > usr/bin/zero
for i in $(seq 1 300); do echo "file $i content" > opt/deep/f$i; done
ln usr/bin/text usr/bin/text2; ln opt/deep/f7 opt/deep/er/f7link; ln -s ../usr/bin/large etc/link
truncate -s 5000000 var/sparse; echo end >> var/sparse
printf 'x' > "home/u/$(printf 'odd \\nname')"; echo 1 > gone/with/it/a; echo 2 > gone/with/b
mkfifo var/fifo; mknod var/dev c 1 3; echo top > swap/file; chmod 4755 usr/bin/text; chmod 700 home/u
chown -R 1000:1001 home/u; touch -d @1500000000 usr opt/deep etc
`

const CHANGE = `
cd "$1"; echo changed > opt/deep/f3; rm opt/deep/f5 var/fifo; rm -r gone; mkdir gone; echo new > gone/n
echo tail >> usr/bin/large; mv opt/deep/f9 opt/moved; echo two > opt/n1; ln opt/n1 opt/n2; rm -r swap; ln -s /etc swap
mkdir -p opt/new/dir; head -c 400000 /dev/urandom > opt/new/dir/big; chmod 600 usr/bin/zero; rm usr/bin/text2
truncate -s 9000000 opt/new/sparse; chmod 711 home; mkfifo opt/new/fifo; echo secret-of-mine > opt/s; rm opt/s
rm -r opt/deep/er; mkdir opt/deep/er; touch opt/deep/er/only
`

function change(root: string, script = CHANGE): void {
  run('sh', '-euc', script, 'sh', root)
}

/** Only these: whole listings would bury what failed. The root is as old as its upper, or as the image's. */
function differences(seen: readonly string[], wanted: readonly string[]): string[] {
  const other = (lines: readonly string[], than: readonly string[], sign: string) =>
    lines.filter((line) => !than.includes(line)).map((line) => sign + line)
  return [...other(wanted, seen, '-'), ...other(seen, wanted, '+')].filter(
    (line) => !line.startsWith('-/ ') && !line.startsWith('+/ '),
  )
}

async function check(path: string, root: string): Promise<void> {
  const wanted = describe(root)
  const mounted = lab.mountImage(path)
  assert.equal(differences(describe(mounted), wanted), [])
  assert.is(attributes(mounted), attributes(root))
  run('unsquashfs', '-quiet', '-no-progress', '-d', lab.fresh('unpacked'), path)
  const fd = fs.openSync(path, 'r')
  await native.verifySquashfs?.(fd, {})
  fs.closeSync(fd)
}

for (const [what, options] of [
  ['zstd', ['-comp', 'zstd']],
  ['gzip with tails in fragments', ['-comp', 'gzip', '-always-use-fragments']],
  ['lz4, small blocks', ['-comp', 'lz4', '-b', '4096']],
  ['uncompressed', ['-noI', '-noD', '-noF', '-noX']],
  ['lzo, which is compressed anew', ['-comp', 'lzo']],
] as const) {
  test.needs(missing, `shows what the container showed: ${what}`, async () => {
    const base = lab.pack(lab.tree(BASE), ...options)
    const { root, upper } = lab.overlay(base)
    change(root)
    const { path } = await lab.save(base, upper)
    await check(path, root)
  })
}

test.needs(missing, 'a saved image is saved again', async () => {
  let base = lab.pack(lab.tree(BASE), '-comp', 'zstd', '-always-use-fragments')
  for (const name of ['one', 'two', 'three']) {
    const { root, upper } = lab.overlay(base)
    change(
      root,
      `cd "$1"; echo ${name} > opt/${name}; echo ${name} >> opt/deep/f1; rm opt/deep/f2*${name.length} || :`,
    )
    const { path } = await lab.save(base, upper)
    await check(path, root)
    base = path
  }
})

test.needs(missing, 'nothing changed: the same blocks, and the same bytes each time', async () => {
  const base = lab.pack(lab.tree(BASE), '-comp', 'zstd')
  const { root, upper } = lab.overlay(base)
  const first = await lab.save(base, upper)
  const second = await lab.save(base, upper, { threads: 1 })
  assert.is(first.done.fresh, 0)
  assert.ok(fs.readFileSync(first.path).equals(fs.readFileSync(second.path)))
  await check(first.path, root)
})

test.needs(missing, 'thread count does not show in the file', async () => {
  const base = lab.pack(lab.tree(BASE), '-comp', 'zstd')
  const { root, upper } = lab.overlay(base)
  change(root)
  const files: Buffer[] = []
  for (const threads of [1, 2, 7])
    files.push(fs.readFileSync((await lab.save(base, upper, { threads })).path))
  assert.ok(files.every((file) => files[0]?.equals(file)))
})

test.needs(missing, 'files are added beside what is there, or over it', async () => {
  const script =
    'cd $T; mkdir etc etc/kept; echo old > etc/rc; ln etc/rc other; ln -s /rc etc/link; echo stays > etc/a'
  const base = lab.pack(lab.tree(script), '-comp', 'zstd')
  const { upper } = lab.overlay(base)
  const file = (path: string, replace?: boolean) => ({
    path,
    content: `new ${path}`,
    ...(replace && { replace }),
  })
  const add = [file('etc/rc', true), file('etc/link', true), file('etc/kept', true), file('etc/a')]
  const { path } = await lab.save(base, upper, {
    add: [
      ...add,
      file('deep/er/b'),
      { path: 'work/of/it/', content: '' },
      { path: 'etc/kept/', content: '' },
    ],
  })
  const root = lab.mountImage(path)
  const text = (name: string) => fs.readFileSync(join(root, name), 'utf8')
  assert.equal(['etc/rc', 'etc/link', 'etc/a', 'other', 'deep/er/b'].map(text), [
    'new etc/rc',
    'new etc/link',
    'stays\n',
    'old\n',
    'new deep/er/b',
  ])
  for (const name of ['work/of/it', 'etc/kept']) assert.ok(fs.lstatSync(join(root, name)).isDirectory())
  assert.not(fs.lstatSync(join(root, 'etc/link')).isSymbolicLink())
  const fd = fs.openSync(path, 'r')
  await native.verifySquashfs?.(fd, {})
  fs.closeSync(fd)
})

test.needs(missing, 'what was deleted is not in the file, not even in a fragment', async () => {
  const tree = lab.tree(
    `cd $T; for i in 1 2 3 4; do echo "number $i" > f$i; done; echo SECRET-OF-SOMEBODY > key`,
  )
  const base = lab.pack(tree, '-noF', '-noD', '-comp', 'zstd')
  assert.ok(fs.readFileSync(base).includes('SECRET-OF-SOMEBODY'))
  const { root, upper } = lab.overlay(base)
  change(root, 'rm "$1/key"')
  const { path } = await lab.save(base, upper)
  await check(path, root)
  const mounted = lab.mountImage(path)
  assert.is(
    run('cat', ...[1, 2, 3, 4].map((i) => join(mounted, `f${i}`))),
    'number 1\nnumber 2\nnumber 3\nnumber 4\n',
  )
  assert.not(run('sh', '-c', `unsquashfs -cat "${path}" f1 f2 f3 f4; strings "${path}"`).includes('SECRET'))
})

test.needs(missing, 'mount points of berth are left out while they are empty', async () => {
  const base = lab.pack(
    lab.tree(
      `cd $T; mkdir -p etc srv; ln -s ../run/resolv.conf etc/resolv.conf; touch -d @1400000000 etc srv .`,
    ),
  )
  const { root, upper } = lab.overlay(base)
  const before = describe(root)
  change(
    root,
    'cd "$1"; mkdir -p mnt/data srv/a/b srv/kept; rm etc/resolv.conf; touch etc/resolv.conf etc/hosts; echo mine > srv/kept/file; ln -s /proc/mounts etc/mtab; printf root > etc/passwd',
  )
  const digest = (text: string) => run('sh', '-c', `printf %s "${text}" | sha256sum`).slice(0, 64)
  const paths = ['mnt', 'mnt/data', 'srv/a', 'srv/a/b', 'srv/kept', 'etc/resolv.conf', 'etc/hosts']
  const own = [
    ...paths.map((path) => ({ path, digest: '' })),
    { path: 'etc/mtab', digest: digest('/proc/mounts') },
    { path: 'etc/passwd', digest: digest('root') },
  ]
  const { path } = await lab.save(base, upper, { own })
  const seen = describe(lab.mountImage(path))
  assert.equal(
    seen.map((line) => line.split(' ')[0]),
    ['/', '/etc', '/etc/resolv.conf', '/srv', '/srv/kept', '/srv/kept/file'],
  )
  const kept = (lines: string[]) => lines.filter((line) => line.startsWith('/etc'))
  assert.equal(
    kept(seen),
    kept(before).filter((line) => !line.startsWith('/srv')),
  )
  change(root, 'echo changed > "$1/etc/hosts"; printf other > "$1/etc/passwd"')
  const again = await lab.save(base, upper, { own })
  assert.ok(describe(lab.mountImage(again.path)).some((line) => line.startsWith('/etc/passwd ')))
})

test.needs(missing, 'files are added unless the container has them', async () => {
  const base = lab.pack(lab.tree('cd $T; mkdir etc; echo own > etc/there'))
  const { upper } = lab.overlay(base)
  const add = [
    { path: '.berth/config.json', content: '{"a":1}' },
    { path: 'etc/there', content: 'other' },
  ]
  const mounted = lab.mountImage((await lab.save(base, upper, { add })).path)
  assert.is(fs.readFileSync(join(mounted, '.berth/config.json'), 'utf8'), '{"a":1}')
  assert.is(fs.readFileSync(join(mounted, 'etc/there'), 'utf8'), 'own\n')
})

test.needs(missing, 'capabilities and user attributes stay', async () => {
  const base = lab.pack(
    lab.tree(
      'cd $T; mkdir d; touch f g; setfattr -n user.a -v 1 f; setfattr -n user.d -v 2 d; setcap cap_net_raw=ep g',
    ),
    '-xattrs',
  )
  const { root, upper } = lab.overlay(base)
  change(root, 'echo x > "$1/f"; touch "$1/d/new"; cp /bin/true "$1/h"; setcap cap_chown=ep "$1/h"')
  await check((await lab.save(base, upper)).path, root)
})

test.needs(missing, "what an ACL's mask allowed is not the group's", async () => {
  const base = lab.pack(lab.tree('cd $T; touch f'))
  const { root, upper } = lab.overlay(base)
  change(root, 'cd "$1"; mkdir -m 750 d; touch g; chmod 640 g; setfacl -m u:7:rwx g d')
  assert.is(fs.statSync(join(root, 'g')).mode & 0o777, 0o670)
  const mounted = lab.mountImage((await lab.save(base, upper)).path)
  const mode = (name: string) => fs.statSync(join(mounted, name)).mode & 0o777
  assert.equal([mode('g'), mode('d')], [0o640, 0o750])
})

test.needs(missing, 'a damaged image is refused, not copied', async () => {
  const base = lab.pack(lab.tree(BASE), '-comp', 'zstd')
  const bytes = fs.readFileSync(base)
  bytes.fill(0xff, Number(bytes.readBigUInt64LE(64)) + 2, Number(bytes.readBigUInt64LE(64)) + 200)
  const { upper } = lab.overlay(base)
  const broken = lab.fresh('broken')
  fs.writeFileSync(broken, bytes)
  let code = ''
  await lab.save(broken, upper).catch((error: NativeError) => {
    code = error.code
  })
  assert.is(code, 'EUCLEAN')
})

test.needs(
  missing ?? missingFor('xfs'),
  'where files can share extents a saved image takes no room',
  async () => {
    const disk = new LoopDisk(lab.directory, 'xfs')
    try {
      const base = join(disk.path, 'base')
      fs.copyFileSync(lab.pack(lab.tree('cd $T; head -c 24000000 /dev/urandom > big')), base)
      const before = disk.free()
      const out = fs.openSync(join(disk.path, 'saved'), 'wx+')
      await lab.save(base, lab.tree('echo x > $T/new'), { out })
      fs.closeSync(out)
      const taken = before - disk.free()
      assert.ok(fs.statSync(join(disk.path, 'saved')).size > 24_000_000)
      assert.ok(taken < 2 << 20, `${taken} bytes`)
    } finally {
      disk.close()
    }
  },
)

test.needs(missing, 'a full disk is an error', async () => {
  const base = lab.pack(lab.tree('cd $T; head -c 3000000 /dev/urandom > big'))
  const { upper } = lab.overlay(base)
  const small = lab.fresh('small')
  fs.mkdirSync(small)
  run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small)
  try {
    const out = fs.openSync(join(small, 'out'), 'wx+')
    let code = ''
    await lab.save(base, upper, { out }).catch((error: NativeError) => {
      code = error.code
    })
    fs.closeSync(out)
    assert.is(code, 'ENOSPC')
  } finally {
    run('umount', small)
  }
})

test.run()
