// SPDX-License-Identifier: Apache-2.0
/** Who the user is inside, what may be written, and the home directory: row by row as users of pyxis know it. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { startCluster } from './cluster.js'
import type { Outcome, RunOptions } from './command.js'
import { freePorts } from './daemon.js'
import { exits, fails, lines, prints, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import { mirror, otherRelease, publishApt } from './images.js'
import { leftForGood } from './leftovers.js'
import { USER_A } from './users.js'

const test = suite('pyxis: root, writing, home')
const at = useCluster(test, { nodes: [{}] })
/** An installation of a package with its dependencies, on two busy cores. */
const INSTALL_TIME_MAX_MS = 600_000

function srun(options: readonly string[], command: string, run: RunOptions = {}): Promise<Outcome> {
  return at.cluster.srun(
    ['-n1', `--container-image=${at.images.debian}`, ...options, 'sh', '-c', command],
    run,
  )
}

const remapped = ['--container-remap-root']
const map = "tail -n1 /proc/self/uid_map | tr -s ' ' | sed 's/^ //'"

test('remapped: uid 0 inside is the user outside, and nobody else is', async () => {
  prints(await srun(remapped, `id -u; ${map}; id -un; echo $HOME`), [
    '0',
    `0 ${USER_A.uid} 1`,
    'root',
    '/root',
  ])
})

test('not remapped: the user is who he is outside', async () => {
  prints(await srun(['--no-container-remap-root'], `id -u; ${map}; id -un`), [
    String(USER_A.uid),
    `${USER_A.uid} ${USER_A.uid} 1`,
    USER_A.name,
  ])
  prints(await srun([], 'id -u'), [String(USER_A.uid)])
})

test('supplementary groups stay, remapped or not', async () => {
  for (const option of ['--container-remap-root', '--no-container-remap-root']) {
    const groups = lines(await srun([option], 'id -G'))[0]?.split(' ') ?? []
    for (const [, gid] of USER_A.groups)
      assert.ok(groups.includes(String(gid)), `${option}: ${groups.join(' ')}`)
  }
})

test('a filter is active either way', async () => {
  for (const option of ['--container-remap-root', '--no-container-remap-root'])
    prints(await srun([option], 'grep ^Seccomp: /proc/self/status'), ['Seccomp:\t2'])
  // It costs no speculation: what slows a process down is as on the host (SECCOMP_FILTER_FLAG_SPEC_ALLOW).
  const slowed = ['grep', 'Speculation_Store_Bypass', '/proc/self/status']
  prints(await srun(remapped, slowed.join(' ')), lines(await at.cluster.srun(['-n1', ...slowed])))
  exits(await srun(remapped, 'setpriv --reuid=8 --regid=8 --clear-groups true'), 0)
})

test('by variable, and the flag wins', async () => {
  prints(await srun([], 'id -u', { env: { PYXIS_CONTAINER_REMAP_ROOT: '1' } }), ['0'])
  const variable = { env: { PYXIS_CONTAINER_REMAP_ROOT: '1' } }
  prints(await srun(['--no-container-remap-root'], 'id -u', variable), [String(USER_A.uid)])
  prints(await srun(remapped, 'id -u', { env: { PYXIS_CONTAINER_REMAP_ROOT: '0' } }), ['0'])
})

test('files of every owner in the image are the user’s', async () => {
  const owners = 'stat -c %u / /etc/shadow /var/mail /var/cache/apt/archives/partial | sort -u'
  prints(await srun(remapped, owners), ['0'])
  prints(await srun([], owners), [String(USER_A.uid)])
})

test('changes of owner and identity seem to succeed', async () => {
  const options = [...remapped, '--container-writable']
  exits(await srun(options, 'touch /x && chown 5:7 /x && chgrp mail /x && install -o man /dev/null /y'), 0)
})

const dnf = 'dnf -q -y --nogpgcheck --releasever=1 --repofrompath=local,file:///root/rpm/RPMS --repo=local'
/** A package with an owner, modes, file capabilities and scripts; there is no other in its repository, so it provides its shell and users itself. */
const installRpm = [
  // Unpacked and not configured, which takes a third of the time.
  'apt-get clean && apt-get install -q -y --no-install-recommends --download-only rpm dnf createrepo-c',
  'printf "%s\\n" /var/cache/apt/archives/*.deb | xargs -P2 -I{} dpkg-deb -x {} /',
  'mkdir -p /root/rpm && cd /root/rpm',
  `printf '%s\\n' 'Name: owned' 'Version: 1' 'Release: 1' 'Summary: x' 'License: x' 'BuildArch: noarch' 'Provides: /bin/sh user(daemon) group(mail)' '%description' 'x' \\
  '%install' 'mkdir -p %{buildroot}/opt/owned; echo "a file of daemon'"'"'s" > %{buildroot}/opt/owned/file' \\
  '%pre' 'groupadd -r owned || exit 1; useradd -r -g owned owned || exit 1' \\
  '%post' 'chown owned:owned /opt/owned/file && echo "changed by its script" >> /opt/owned/file' \\
  '%files' '%attr(0750, daemon, mail) %dir /opt/owned' '%attr(4755, daemon, mail) %caps(cap_net_raw=p) /opt/owned/file' > owned.spec`,
  'rpmbuild --quiet -bb --define "_topdir /root/rpm" owned.spec',
  `createrepo_c -q RPMS && ${dnf} install owned`,
  'rpm -q --qf "%{name}-%{version}-%{release}\\n[caps: %{filecaps}\\n]" owned && stat -c "dnf: %a" /opt/owned',
  'echo "rpm: $(paste -sd, /opt/owned/file | sed "s/,/, /")"',
  `${dnf} remove owned && test ! -e /opt/owned/file`,
].join(' && ')

test('remapped: packages install, by apt-get and by dnf', async () => {
  const list = `deb ${await mirror()} ${otherRelease()} main`
  const install = [
    'export DEBIAN_FRONTEND=noninteractive',
    `rm -f /etc/apt/sources.list.d/*; echo "${list}" > /etc/apt/sources.list`,
    // The image has MY_LIST=1;2;3;4, which install-info would run as commands if it stood in /etc/environment.
    '! grep -s MY_LIST /etc/environment',
    'apt-get update -q',
    'apt-get install -q -y --no-install-recommends file make tzdata openssh-server install-info',
    'file -b /usr/bin/make && getent passwd sshd && ls -la /etc/localtime && echo $MY_LIST',
    installRpm,
  ].join(' && ')
  const run = { timeoutMs: INSTALL_TIME_MAX_MS }
  const image = `--container-image=${await publishApt(at.registry)}`
  const options = [image, ...remapped, '--container-name=packages']
  const seen = exits(await at.cluster.srun(['-n1', ...options, 'sh', '-c', install], run), 0)
  says(says(seen, /^ELF 64-bit/m), /^sshd:x:/m)
  says(seen, /^1;2;3;4$/m)
  says(says(seen, /^owned-1-1/m), /^dnf: 750$/m)
  says(says(seen, /^rpm: a file of daemon's, changed by its script$/m), /^caps: .*cap_net_raw/m)
  saysNot(seen, /drop privileges|unsandboxed|dpkg: error/)
})

test('sshd runs as a step of its own, and lets its user in from another, with a terminal', async () => {
  const dir = join(at.cluster.shared, 'ssh')
  exits(
    await at.cluster.command(['sh', '-c', 'mkdir "$0" && ssh-keygen -q -t ed25519 -N "" -f "$0/key"', dir]),
    0,
  )
  const port = String((await freePorts(1))[0])
  const sshd = ['/usr/sbin/sshd', '-d', '-p', port, '-o', 'ListenAddress=127.0.0.1', '-o', 'StrictModes=no']
  const container = ['-n1', '--container-name=packages', '--no-container-remap-root']
  const keys = ['-o', `AuthorizedKeysFile=${dir}/key.pub`]
  const places = [`--container-mounts=${dir}`, '--container-mount-home']
  const server = at.cluster.start(['srun', ...container, ...places, ...sshd, ...keys])
  await server.sees(/Server listening/)
  exits(await at.cluster.srun([...container, 'true']), 0)
  const unknown = ['-o', 'StrictHostKeyChecking=no', '-o', `UserKnownHostsFile=${dir}/known`]
  const ssh = ['ssh', '-tt', '-p', port, '-i', `${dir}/key`, ...unknown, '127.0.0.1']
  const login = await at.cluster.srun(['-n1', ...ssh, 'tty; grep VERSION_CODENAME /etc/os-release'])
  const seen = exits(login, 0)
  says(says(seen, /^\/dev\/pts\/\d+/m), new RegExp(`CODENAME=${otherRelease()}`))
  await server.done
})

test('extended attributes: user.* and, as root inside, file capabilities are kept; the host’s own are refused', async () => {
  const dir = at.cluster.shared
  const probe = join(dir, 'xattr')
  const source = join(import.meta.dirname, 'xattr_probe.c')
  exits(await at.cluster.command(['cc', '-static', '-O2', '-o', probe, source]), 0)
  const refused = ['security.ima: Operation not permitted', 'trusted.berth: Operation not permitted', 'mknod']
  const set = `touch /x && ${probe} set /x`
  const inside = `--container-mounts=${dir}`
  // Of files in memory user.* is known from Linux 6.6 on.
  for (const where of ['disk:16M', 'disk --container-name=xattrs']) {
    const options = [inside, ...remapped, ...`--container-writable=${where}`.split(' ')]
    prints(await srun(options, set), ['user.berth', 'security.capability', ...refused])
  }
  const image = join(dir, 'xattr.sqsh')
  const options = [inside, '--container-writable=disk:16M', `--container-save=${image}`]
  prints(await srun([...options, ...remapped], set), ['user.berth', 'security.capability', ...refused])
  const get = ['-n1', `--container-image=${image}`, inside, probe, 'get', '/x']
  prints(await at.cluster.srun(get), ['user.berth', 'security.capability'])
  const none = 'security.capability: Operation not permitted'
  prints(await srun([...options, '--no-container-remap-root'], set), ['user.berth', none, ...refused])
})

const touch = 'touch /newfile && echo done'
const readOnly = (outcome: Outcome): Outcome => says(fails(outcome), /Read-only file system/)

test('read-only: by flag, by either variable, by default', async () => {
  readOnly(await srun(['--container-readonly'], touch))
  readOnly(await srun([], touch, { env: { PYXIS_CONTAINER_WRITABLE: '0' } }))
  readOnly(await srun([], touch, { env: { PYXIS_CONTAINER_READONLY: '1' } }))
  readOnly(await srun([], touch, { env: { BERTH_CONTAINER_READONLY: '1' } }))
  readOnly(await srun([], touch))
})

test('writable: by flag and by either variable; what is written is nobody else’s', async () => {
  prints(await srun(['--container-writable'], touch), ['done'])
  prints(await srun([], touch, { env: { PYXIS_CONTAINER_WRITABLE: '1' } }), ['done'])
  prints(await srun([], touch, { env: { PYXIS_CONTAINER_READONLY: '0' } }), ['done'])
  prints(await srun([], touch, { env: { BERTH_CONTAINER_WRITABLE: '1' } }), ['done'])
  prints(await srun(['--container-writable'], 'test -e /newfile || echo fresh'), ['fresh'])
})

test('the flag beats the variables, both flags are refused', async () => {
  readOnly(await srun(['--container-readonly'], touch, { env: { PYXIS_CONTAINER_WRITABLE: '1' } }))
  readOnly(await srun(['--container-readonly'], touch, { env: { PYXIS_CONTAINER_READONLY: '0' } }))
  refuses(
    await srun(['--container-readonly', '--container-writable'], touch),
    /container-(readonly|writable)/,
  )
})

test('a size limit is the program’s to meet', async () => {
  const fill = 'head -c 3M /dev/zero > /big'
  exits(await srun(['--container-writable=8M'], fill), 0)
  const full = fails(await srun(['--container-writable=1M'], `${fill}; r=$?; echo still here; exit $r`))
  says(says(full, /No space left/), /still here/)
})

const target = (path: string): string => `findmnt -n -o TARGET ${path} || echo none`

test('home: at /root when remapped, from the step’s HOME', async () => {
  const home = join(at.cluster.shared, 'home')
  mkdirSync(home, { recursive: true })
  const options = ['--container-mount-home', ...remapped]
  prints(await srun(options, `${target('/root')}; touch /root/mine`), ['/root'])
  writeFileSync(join(home, 'marker'), 'of this step\n')
  prints(await srun(options, 'cat /root/marker', { env: { HOME: home } }), ['of this step'])
  const other = join(tmpdir(), `berth-home-${process.pid}`)
  writeFileSync(other, 'below /tmp\n')
  try {
    prints(await srun(options, `cat /root/${basename(other)}`, { env: { HOME: '/tmp' } }), ['below /tmp'])
  } finally {
    rmSync(other)
  }
})

test('home: at its own place when not remapped', async () => {
  const home = `/home/${USER_A.name}`
  prints(await srun(['--container-mount-home', '--no-container-remap-root'], target(home)), [home])
})

test('home: absent unless asked for, variable and flag', async () => {
  for (const options of [[], ['--no-container-mount-home']]) {
    prints(await srun([...remapped, ...options], target('/root')), ['none'])
    prints(await srun(options, target(`/home/${USER_A.name}`)), ['none'])
  }
  const run = { env: { PYXIS_CONTAINER_MOUNT_HOME: '1' } }
  prints(await srun(remapped, target('/root'), run), ['/root'])
  prints(await srun([...remapped, '--no-container-mount-home'], target('/root'), run), ['none'])
  const off = { env: { PYXIS_CONTAINER_MOUNT_HOME: '0' } }
  prints(await srun(remapped, target('/root'), off), ['none'])
  prints(await srun([...remapped, '--container-mount-home'], target('/root'), off), ['/root'])
})

test('home: a directory of the user’s where the image has none and nothing is mounted', async () => {
  const home = `/home/${USER_A.name}`
  const look = `stat -c "%n %a %u" ${home}; ls -A ${home} | wc -l; touch ${home}/.gitconfig && echo made`
  prints(await srun(['--container-writable'], look), [`${home} 700 ${USER_A.uid}`, '0', 'made'])
  const fixed = await srun(['--container-readonly'], look)
  says(fails(fixed), /Read-only file system/)
  assert.is(fixed.stdout, `${home} 700 ${USER_A.uid}\n0\n`)
})

test('umount: takes the home away again', async () => {
  const options = ['--container-mount-home', ...remapped, '--container-mounts=umount:/root']
  prints(await srun(options, target('/root')), ['none'])
})

test('the step’s directory: mounted, and where the program starts', async () => {
  const seen = await srun(['--container-mount-cwd'], 'pwd; findmnt -n -o TARGET .')
  prints(seen, [at.cluster.shared, at.cluster.shared])
})

/** A package whose script gives its file to another account; apt needs no network for it. */
const installDeb = [
  'mkdir -p /tmp/deb/DEBIAN /tmp/deb/opt && touch /tmp/deb/opt/owned && cd /tmp',
  "printf '%s\\n' 'Package: owned' 'Version: 1' 'Architecture: all' 'Maintainer: x <x@x>' 'Description: x' > deb/DEBIAN/control",
  "printf '%s\\n' '#!/bin/sh' 'chown daemon:mail /opt/owned' > deb/DEBIAN/postinst && chmod 755 deb/DEBIAN/postinst",
  'dpkg-deb --build deb owned.deb > /dev/null',
  'apt-get install -q -y ./owned.deb > /dev/null && dpkg-query -W owned',
].join(' && ')

test('a site with the defaults of pyxis: root who writes and installs without a flag, and ranks of PMIx with no line beside them', async () => {
  const onDisk = 'container_writable_on = disk\ncontainer_writable_disk_size = 64M\n'
  const berthConf = `container_remap_root = yes\ncontainer_writable = yes\n${onDisk}`
  const cluster = await startCluster({ nodes: [{}], berthConf })
  try {
    const image = `--container-image=${at.images.debian}`
    prints(await cluster.srun(['-n1', image, 'sh', '-c', 'touch /newfile && id -u']), ['0'])
    fails(await cluster.srun(['-n1', image, 'sh', '-c', 'head -c 80M /dev/zero >/fill']))
    const apt = [`--container-image=${await publishApt(at.registry)}`, '--container-writable']
    prints(await cluster.srun(['-n1', ...apt, 'sh', '-c', installDeb]), ['owned\t1'])
    exits(await cluster.srun(['-n1', image, '--container-name=ranks', 'true']), 0)
    const ranks = ['--mpi=pmix', '-n4', '--container-name=ranks', 'sh', '-c', 'echo $PMIX_RANK']
    for (const env of [{}, { PYXIS_CONTAINER_REMAP_ROOT: '1' }]) {
      const { output } = exits(await cluster.srun(ranks, { env }), 0)
      // Slurm may say that the job was queued.
      const told = output.split('\n').filter((line) => line !== '' && !line.startsWith('srun: job '))
      assert.equal(told.sort(), ['0', '1', '2', '3'])
    }
  } finally {
    await cluster.stop()
  }
  assert.equal(await leftForGood(cluster.dir), [])
})

test.run()
