// SPDX-License-Identifier: Apache-2.0
/** What a user finds inside a namespace built on an image. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { MountStep } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { until } from '../worker/until.js'
import { bind, DEV, DIST, file, Lab, missing, PROC, tmpfs, USER } from './lab.js'

const test = suite('namespace root')
const needs = missing()
const lab = new Lab()

test.before(async () => {
  if (needs === undefined) await lab.start()
})
test.after(() => lab.stop())

test.needs(needs, 'the user keeps uid, gid and groups, and only those are mapped', async () => {
  const inside = await lab.run([PROC], 'id -u; id -g; id -G; cat /proc/self/uid_map /proc/self/gid_map')
  const [uid, gid, groups, ...maps] = inside.stdout.trim().split('\n')
  assert.is(uid, '12345')
  assert.is(gid, '12346')
  assert.equal(new Set(groups?.split(' ')), new Set(['12346', '20', '44']))
  const rows = maps.map((line) => line.trim().split(/\s+/).join(' '))
  assert.equal(rows, ['12345 12345 1', '12346 12346 1', '20 20 1', '44 44 1'])
})

test.needs(needs, "root's files in the image are the user's, also the private ones", async () => {
  const inside = await lab.run([], 'stat -c %u:%g / /bin/busybox /etc/secret; cat /etc/secret')
  assert.is(inside.stdout, '12345:12346\n12345:12346\n12345:12346\nx')
})

test.needs(needs, 'with root remapping the user is 0 and nothing else is mapped', async () => {
  const built = await lab.build([PROC], { insideUid: 0, insideGid: 0 })
  const inside = lab.enter(
    built,
    'id -u; id -g; tail -n1 /proc/self/uid_map 2>/dev/null || cat /proc/self/uid_map',
  )
  assert.is(inside.stdout.trim().split(/\s+/).join(' '), '0 0 0 12345 1')
})

test.needs(
  needs,
  'a writable root takes new, changed and deleted files, and the image stays as it was',
  async () => {
    const script =
      'touch /new && echo changed > /etc/issue && rm /etc/secret && chmod 755 /locked && mkdir /locked/sub && cat /etc/issue'
    const inside = await lab.run([], script)
    assert.is(inside.stderr, '')
    assert.is(inside.stdout, 'changed\n')
    assert.is((await lab.run([], 'cat /etc/issue /etc/secret')).stdout, 'the image\nx')
  },
)

test.needs(needs, 'a read-only root refuses writing and remounting', async () => {
  const built = await lab.build([PROC], { readonly: true })
  const inside = lab.enter(built, 'touch /new; mount -o remount,rw /; touch /new', { capabilities: true })
  assert.is(inside.status, 1)
  assert.is(inside.stderr.match(/Read-only file system/g)?.length, 2, inside.stderr)
})

test.needs(
  needs,
  'a writable directory stays so in a read-only root, with what the image has there',
  async () => {
    const steps: MountStep[] = [
      PROC,
      file('/etc/passwd', 'given\n'),
      ...['/etc', '/made/for/it', '/var/run/x', '/proc/self', '/bin/busybox'].map(
        (target): MountStep => ({ kind: 'dir', target, mode: 0o755, optional: true, writable: true }),
      ),
    ]
    const built = await lab.build(steps, { readonly: true })
    const script = `cat /etc/issue; echo changed > /etc/issue; echo new > /made/for/it/file; echo x > /run/dangling/x/y
    cat /etc/issue /made/for/it/file /etc/passwd; grep -c busybox /proc/self/mountinfo
    for place in / /etc/passwd /made /made/for /run; do echo x > $place/no || echo x > $place; done`
    const inside = lab.enter(built, script)
    assert.is(inside.stdout, 'the image\nchanged\nnew\ngiven\n0\n')
    assert.is(inside.stderr.match(/Read-only file system/g)?.length, 5, inside.stderr)
    const privileged = lab.enter(built, 'umount /etc; mount -o remount,bind,dev /etc; cat /etc/issue', {
      capabilities: true,
    })
    assert.is(privileged.stdout, 'changed\n')
    assert.is((await lab.run([], 'cat /etc/issue')).stdout, 'the image\n')
  },
)

function writable(target: string): MountStep {
  return { kind: 'dir', target, mode: 0o755, optional: true, writable: true }
}

const COUNT_ROOTS = `grep -c ' - overlay ' /proc/self/mountinfo`

test.needs(needs, 'writable directories in one another are not mounted again for each of them', async () => {
  const levels = Array.from({ length: 10 }, (_, i) => '/a'.repeat(i + 1))
  const script = `${COUNT_ROOTS}; for place in /a ${levels.at(-1)}; do echo x > $place/new && cat $place/new; done`
  const down = await lab.run([PROC, ...levels.map(writable)], script, { readonly: true })
  assert.is(down.stdout, '2\nx\nx\n', down.stderr)
  // An image's links may name what is below first.
  const up = await lab.run([PROC, ...levels.reverse().map(writable)], COUNT_ROOTS, { readonly: true })
  assert.is(up.stdout, '2\n')
})

test.needs(needs, 'a writable directory that is a link to the root leaves that as it is', async () => {
  const steps = [PROC, writable('/top'), file('/etc/passwd', 'given\n')]
  const script = `cat /etc/passwd; ${COUNT_ROOTS}; echo x > /new`
  const inside = await lab.run(steps, script, { readonly: true })
  assert.is(inside.stdout, 'given\n1\n')
  assert.match(inside.stderr, /Read-only file system/)
})

test.needs(needs, 'the size of the private layer is bounded', async () => {
  const inside = await lab.run([DEV], 'head -c 8000000 /dev/zero > /big; stat -c %s /big', {
    upperSize: '1m',
  })
  assert.ok(Number(inside.stdout) <= 1 << 20, inside.stdout)
})

test.needs(needs, 'given files appear with their content and cannot be changed', async () => {
  const script = 'cat /etc/passwd; ls -l /etc/passwd; echo x > /etc/passwd'
  const inside = await lab.run([file('/etc/passwd', 'me:x:12345:12346::/:/bin/sh\n')], script)
  assert.match(inside.stdout, /^me:x:12345/)
  assert.match(inside.stdout, /-rw-r--r-- +1 me/)
  assert.match(inside.stderr, 'Read-only file system')
})

test.needs(
  needs,
  'a link in the image is replaced when asked, and followed inside the image otherwise',
  async () => {
    const replaced = await lab.run(
      [file('/etc/resolv.conf', 'one\n', true)],
      'cat /etc/resolv.conf; ls /somewhere',
    )
    assert.is(replaced.stdout, 'one\n')
    assert.match(replaced.stderr, 'No such file')
    const followed = await lab.run([file('/etc/resolv.conf', 'two\n')], 'cat /somewhere/else')
    assert.is(followed.stdout, 'two\n')
  },
)

test.needs(
  needs,
  'tmpfs has the options given, belongs to the user and shows its mount options',
  async () => {
    const inside = await lab.run(
      [PROC, tmpfs('/scratch/a', 'size=3m,huge=within_size,noexec', 0o700)],
      'grep scratch /proc/self/mounts; stat -c %a:%u /scratch/a',
    )
    assert.match(inside.stdout, /rw,nosuid,nodev,noexec,relatime/)
    assert.match(inside.stdout, /size=3072k/)
    assert.match(inside.stdout, /huge=within_size/)
    assert.match(inside.stdout, /700:12345\n$/)
  },
)

test.needs(
  needs,
  'missing targets of binds are made as their source is, through dangling links too',
  async () => {
    const script = 'stat -c %F /a/b/c /a/b/f /run/dangling/x; stat -c %u /a/b; touch /a/new'
    const made = [bind('/usr', '/a/b/c'), bind('/etc/hostname', '/a/b/f'), bind('/etc/hosts', '/var/run/x')]
    const inside = await lab.run(made, script)
    assert.is(inside.stdout, 'directory\nregular file\nregular file\n12345\n')
    assert.is(inside.stderr, '')
  },
)

test.needs(needs, 'a device stays a usable device', async () => {
  const script = 'echo x > /null; echo x > /dev/null; stat -c %F /null /dev/null; head -c 3 /dev/zero'
  const inside = await lab.run([bind('/dev/null', '/null'), DEV], script)
  assert.is(inside.stderr, '')
  assert.is(inside.stdout, 'character special file\ncharacter special file\n\0\0\0')
})

test.needs(needs, 'directories and links are made', async () => {
  const steps = [
    { kind: 'dir', target: '/opt/site/data', mode: 0o750 },
    { kind: 'symlink', target: '/etc/mtab', to: '/proc/mounts' },
    { kind: 'symlink', target: '/etc/issue', to: 'elsewhere' },
  ] as const
  const inside = await lab.run(
    [...steps],
    'stat -c %a:%u /opt/site/data; readlink /etc/mtab; readlink /etc/issue',
  )
  assert.is(inside.stdout, '750:12345\n/proc/mounts\nelsewhere\n')
})

test.needs(needs, 'a later umount step takes away an earlier mount, for files and directories', async () => {
  const steps = [bind('/usr', '/root'), bind('/etc/hosts', '/etc/issue')]
  const away = [
    { kind: 'umount', target: '/root' } as const,
    { kind: 'umount', target: '/etc/issue' } as const,
  ]
  const inside = await lab.run(
    [PROC, ...steps, ...away],
    'ls /root; cat /etc/issue; grep -c root /proc/self/mounts',
  )
  assert.is(inside.stdout, 'the image\n0\n')
})

test.needs(needs, 'ro, noexec and propagation words are honoured', async () => {
  const steps = [
    bind('/usr', '/usr-ro', { flags: ['ro'] }),
    bind('/usr', '/usr-ne', { flags: ['noexec'] }),
    bind('/usr', '/usr-un', { flags: ['unbindable', 'ro'] }),
    bind('/usr', '/usr-sh', { flags: ['shared'] }),
  ]
  const inside = await lab.run([PROC, ...steps], 'grep usr- /proc/self/mountinfo')
  const row = (name: string) => inside.stdout.split('\n').find((line) => line.includes(name)) ?? ''
  assert.match(row('usr-ro'), / ro,nosuid,nodev/)
  assert.match(row('usr-ne'), /nosuid,nodev,noexec/)
  assert.match(row('usr-un'), /ro,.* unbindable/)
  assert.match(row('usr-sh'), / shared:/)
})

test.needs(needs, 'without new namespaces net, ipc and uts are the host’s', async () => {
  const names = ['net', 'ipc', 'uts', 'pid']
  const script = names.map((name) => `readlink /proc/self/ns/${name}`).join(';')
  const inside = await lab.run([PROC], script)
  const host = names.map((name) => execFileSync('readlink', [`/proc/self/ns/${name}`], { encoding: 'utf8' }))
  assert.is(inside.stdout, host.join(''))
})

test.needs(needs, 'new namespaces: loopback is up, queues are fresh, the host name is kept', async () => {
  const queue: MountStep = { kind: 'mqueue', target: '/queues', flags: [] }
  const built = await lab.build([PROC, DEV, tmpfs('/dev/shm'), queue], {
    unshare: ['net', 'ipc', 'uts'],
    insideUid: 0,
    insideGid: 0,
  })
  const inside = lab.enter(
    built,
    'ip addr show lo; grep mqueue /proc/self/mounts; hostname; hostname other; hostname',
    {
      capabilities: true,
    },
  )
  assert.match(inside.stdout, /lo: <LOOPBACK,UP/)
  assert.match(inside.stdout, /mqueue \/queues mqueue rw,nosuid,nodev/)
  assert.match(inside.stdout, `${hostname()}\nother\n`)
})

test.needs(needs, 'a pid namespace shows itself alone and ends with its lease', async () => {
  const init = join(DIST, 'berth-init')
  const built = await lab.build([{ kind: 'proc', target: '/proc' }], { unshare: ['pid'], init })
  const { lease = -1, first = 0, pidNs = -1 } = built
  assert.is(readlinkSync(`/proc/${first}/ns/pid`), `pid:[${lab.native.namespaceId(pidNs)}]`)
  const inside = lab.enter(
    built,
    'cat /proc/1/comm; ls -d /proc/[0-9]* | wc -l; ls /proc/1/fd || echo denied',
  )
  assert.match(inside.stdout, /^berth-init\n[1-4]\ndenied\n$/)
  lab.native.endLease(lease)
  const state = () => {
    try {
      return readFileSync(`/proc/${first}/stat`, 'utf8')
    } catch {
      return ''
    }
  }
  await until('its end', async () => !state().includes('(berth-init) S'))
})

test.needs(needs, 'the upper layer can lie on disk and is kept', async () => {
  const upperDir = lab.path('upper-on-disk')
  mkdirSync(upperDir)
  await lab.run([], 'echo kept > /kept', { upperDir })
  assert.is(readFileSync(`${upperDir}/upper/kept`, 'utf8'), 'kept\n')
  // EBUSY while the kernel has not let go of the first one, as rootfs.cc says; the worker tries again, too.
  let stdout = ''
  await until('the end of the first overlay', async () => {
    const again = await lab.run([], 'cat /kept', { upperDir }).catch((error) => error)
    if (again.code !== undefined && again.code !== 'EBUSY') throw again
    stdout = again.stdout ?? ''
    return stdout !== ''
  })
  assert.is(stdout, 'kept\n')
})

test.needs(needs, "a directory of the user's own can be the image", async () => {
  const tree = lab.path('own')
  execFileSync('cp', ['-a', lab.path('tree'), tree])
  execFileSync('chown', ['-R', `${USER.uid}:${USER.gid}`, tree])
  const image = { directory: tree }
  const inside = await lab.run([], 'cat /etc/issue; touch /etc/issue2; id -u', { image, idmap: false })
  assert.is(inside.stdout, 'the image\n12345\n')
  assert.is(inside.stderr, '')
})

test.needs(
  needs,
  'a directory that the user may not read is refused, unless the worker vouches for it',
  async () => {
    const hidden = lab.path('hidden')
    mkdirSync(hidden, { mode: 0o700 })
    execFileSync('cp', ['-a', lab.path('tree'), `${hidden}/tree`])
    const directory = `${hidden}/tree`
    const refused = await lab.build([], { image: { directory } }).catch((error) => error)
    assert.is(refused.code, 'EACCES')
    const inside = await lab.run([], 'cat /etc/issue', { image: { directory, trusted: true } })
    assert.is(inside.stdout, 'the image\n')
  },
)

test.needs(needs, 'a directory as image shows its user nothing that is closed to them', async () => {
  const tree = lab.path('roots')
  execFileSync('cp', ['-a', lab.path('tree'), tree])
  writeFileSync(`${tree}/etc/secret`, 'secret', { mode: 0o600 })
  mkdirSync(`${tree}/closed`, { mode: 0o700 })
  writeFileSync(`${tree}/closed/inside`, 'secret')
  const steps = [file('/etc/new', 'made'), tmpfs('/new')]
  // Asked for with the id map of images: it must not apply.
  const image = { directory: tree }
  const script = 'cat /etc/secret /closed/inside; ls /closed; cat /etc/new; touch /mine; stat -c %u /mine'
  const inside = await lab.run(steps, script, { image })
  assert.is(inside.stdout, 'made12345\n')
  assert.is(inside.stderr.match(/Permission denied/g)?.length, 3)
  execFileSync('chmod', ['700', tree])
  const closed = await lab.run([], 'cat /etc/issue; ls /', { image }).catch((error) => error)
  assert.match(closed.stderr ?? closed.code, /EACCES|Permission denied/)
  assert.is(closed.stdout ?? '', '')
})

test.needs(needs, "what a user's mount lacks is made with the user's rights, not with root's", async () => {
  const home = lab.path('home')
  mkdirSync(home)
  mkdirSync(`${home}/others`, { mode: 0o755 })
  execFileSync('chown', [`${USER.uid}:${USER.gid}`, home])
  await lab.run([bind(home, '/home'), bind('/usr', '/home/made/here')], 'true')
  assert.is(execFileSync('stat', ['-c', '%u', `${home}/made/here`], { encoding: 'utf8' }), '12345\n')
  const steps = [bind(home, '/home'), bind('/usr', '/home/others/new')]
  const refused = await lab.build(steps).catch((error) => error)
  assert.is(refused.code, 'EACCES')
  assert.is(refused.step, 1)
})

test.needs(needs, 'without the id map the root is still there, and the user is told', async () => {
  const built = await lab.build([], { idmap: false })
  assert.match(built.notes.join(), "appear as nobody's")
  assert.is(lab.enter(built, 'stat -c %u /bin/busybox; touch /x && echo ok').stdout, '65534\nok\n')
})

test.needs(needs, 'a missing optional mount is a note', async () => {
  writeFileSync(lab.path('there'), '')
  const built = await lab.build([bind('/does/not/exist', '/x', { optional: true, trusted: true })])
  assert.equal(built.notes, ['mount skipped: /does/not/exist does not exist'])
})

test.run()
