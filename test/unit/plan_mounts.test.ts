// SPDX-License-Identifier: Apache-2.0
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: mounts spell variables this way
import assert from 'node:assert/strict'
import { planMounts } from '../../src/plan/mounts.js'
import type { PlannedMount } from '../../src/plan/spec.js'
import { suite } from '../suite.js'
import { type Given, planInput } from './plan_input.js'
import { refuses } from './request_refusals.js'

const test = suite('mounts of a plan')

function plan(given: Given = {}): PlannedMount[] {
  return planMounts(planInput(given))
}

function at(target: string, mounts: readonly PlannedMount[]): PlannedMount | undefined {
  return mounts.filter((mount) => mount.target === target).at(-1)
}

function mounts(value: string): Given {
  return { options: [`container-mounts=${value}`] }
}

test('every container has the mounts that users of enroot know, in this order', () => {
  assert.deepEqual(
    plan().map(({ kind, target }) => `${kind} ${target}`),
    [
      'bind /proc',
      'bind /sys',
      'bind /dev',
      'bind /dev/shm',
      'tmpfs /tmp',
      'tmpfs /var/run',
      'tmpfs /var/lock',
      'tmpfs /run',
      'dir /run/lock',
      'bind /etc/resolv.conf',
      'bind /etc/hosts',
      'bind /etc/hostname',
      'bind /etc/machine-id',
      'bind /etc/localtime',
      'file /etc/passwd',
      'file /etc/group',
      'dir /home/ada',
    ],
  )
})

test('the home is a directory of the user’s, and fails no start', () => {
  assert.deepEqual(at('/home/ada', plan()), {
    ...{ kind: 'dir', target: '/home/ada', mode: 0o700, optional: true },
    ...{ reason: "the user's home, where the image has none", origin: 'berth default' },
  })
  const root = { options: ['container-remap-root=1'] }
  assert.deepEqual([at('/home/ada', plan(root)), at('/root', plan(root))?.kind], [undefined, 'dir'])
  assert.equal(at('/', plan({ user: { home: '/' } })), undefined)
})

test('volumes of the image are directories, below what the user mounts', () => {
  const volumes = ['/lib/db/log', '/data', '/', '/var/../lib/db']
  const all = plan({ config: { volumes }, options: ['container-mounts=/scratch:/data'] })
  assert.deepEqual(
    all.filter(({ origin }) => origin === 'image config').map(({ kind, target }) => `${kind} ${target}`),
    ['dir /data', 'dir /lib/db', 'dir /lib/db/log'],
  )
  assert.equal(at('/data', all)?.kind, 'bind')
})

test('volumes can be written whatever the root is', () => {
  const volume = (option: string) => at('/data', plan({ config: { volumes: ['/data'] }, options: [option] }))
  const same = { kind: 'dir', target: '/data', mode: 0o755, optional: true, origin: 'image config' }
  const apart = { reason: 'VOLUME of the image, writable though the root is not', writable: true }
  assert.deepEqual(volume('container-readonly=1'), { ...same, ...apart })
  const reason = 'VOLUME of the image, where its layers lack it'
  assert.deepEqual(volume('container-writable=1'), { ...same, reason })
})

test('the directory that the image starts in is made, after all mounts, and no other', () => {
  const image = { config: { workdir: '/work/it' } }
  const made = plan({ ...image, options: ['container-mounts=/data:/work'] }).at(-1)
  assert.deepEqual([made?.kind, made?.target, made?.origin], ['dir', '/work/it', 'image config'])
  for (const option of ['container-workdir=/work/it', 'container-mount-cwd=1'])
    assert.equal(at('/work/it', plan({ ...image, options: [option] })), undefined)
  assert.equal(plan({ config: { workdir: '/' } }).at(-1)?.target, '/home/ada')
})

test('/sys and the files of /etc are read-only, devices stay devices', () => {
  const all = plan()
  const flags = (target: string): string[] => {
    const mount = at(target, all)
    return mount?.kind === 'bind' ? mount.flags : []
  }
  assert.deepEqual(flags('/sys'), ['ro'])
  assert.deepEqual(flags('/dev'), ['nosuid', 'noexec'])
  assert.ok(flags('/etc/hosts').includes('ro'))
})

test('temporary directories belong to the user', () => {
  const tmp = at('/tmp', plan())
  assert.ok(tmp?.kind === 'tmpfs' && tmp.options === 'uid=2041,gid=2000' && tmp.mode === 0o1777)
})

test("a user's mount is opened with the user's rights, relative sources from the step's directory", () => {
  const mount = at('/in', plan(mounts('./data:/in:ro+rprivate')))
  assert.deepEqual(mount, {
    kind: 'bind',
    source: '/work/run/data',
    target: '/in',
    flags: ['nosuid', 'ro', 'private'],
    recursive: true,
    create: 'auto',
    trusted: false,
    optional: false,
    replaceLink: false,
    reason: 'asked for',
    origin: 'flag --container-mounts',
  })
})

test('a device can be mounted and used', () => {
  const mount = at('/null', plan(mounts('/dev/null:/null')))
  assert.ok(mount?.kind === 'bind' && !mount.flags.includes('nodev'))
})

test('words of enroot shape the mount', () => {
  const mount = at('/x', plan(mounts('/a:/x:bind+x-create=dir+nofail+rw')))
  assert.ok(mount?.kind === 'bind' && !mount.recursive && mount.create === 'dir' && mount.optional)
  assert.deepEqual(mount.flags, ['nosuid'])
})

test('a tmpfs takes options and mode, and is owned by the user', () => {
  const mount = at('/t', plan(mounts('tmpfs:/t:huge=within_size+size=1g+mode=0700+noexec')))
  assert.ok(mount?.kind === 'tmpfs')
  assert.equal(mount.options, 'uid=2041,gid=2000,huge=within_size,size=1g')
  assert.equal(mount.mode, 0o700)
  assert.deepEqual(mount.flags, ['nosuid', 'nodev', 'noexec'])
})

test('a relative target may not climb out, an absolute one ends at the root', () => {
  refuses(() => plan(mounts('/home:../home')), 'BERTH_EMOUNTTARGET', 'cross-device link')
  refuses(() => plan(mounts('/home:./a/../../home')), 'BERTH_EMOUNTTARGET', '/home leaves the container')
  assert.ok(at('/home', plan(mounts('/home:/../home'))))
  assert.ok(at('/a', plan(mounts('/home:./b/../a'))))
})

test('the root itself is not mounted over', () => {
  for (const target of ['/', './', '/..'])
    refuses(() => plan(mounts(`/home:${target}`)), 'BERTH_EOPTION', 'root')
})

test('umount takes back what berth would have mounted, else it stays a step', () => {
  const given = {
    options: ['container-mount-home=1', 'container-remap-root=1', 'container-mounts=umount:/root'],
  }
  assert.equal(at('/root', plan(given)), undefined)
  assert.equal(at('/tmp', plan(mounts('umount:/tmp/'))), undefined)
  assert.equal(at('/dev/pts', plan(mounts('umount:/dev/pts')))?.kind, 'umount')
  assert.equal(at('/x', plan(mounts('/a:/x,umount:/x,/b:/x')))?.kind, 'bind')
})

test("home comes from the step's HOME, and is /root for root", () => {
  const home = (options: string[], environment: Record<string, string>): string[] => {
    const found = plan({ options, environment }).find(({ reason }) => reason === "the user's home")
    return found?.kind === 'bind' ? [found.source, found.target] : []
  }
  assert.deepEqual(home(['container-mount-home=1'], {}), ['/home/ada', '/home/ada'])
  assert.deepEqual(home(['container-mount-home=1'], { HOME: '/tmp' }), ['/tmp', '/tmp'])
  assert.deepEqual(home(['container-mount-home=1'], { HOME: 'nowhere' }), ['/home/ada', '/home/ada'])
  assert.deepEqual(home(['container-mount-home=1', 'container-remap-root=1'], { HOME: '/tmp' }), [
    '/tmp',
    '/root',
  ])
  assert.deepEqual(home(['no-container-mount-home=1'], {}), [])
})

test('the batch script is at its own path, read-only', () => {
  const script = '/var/spool/slurmd/job4711/slurm_script'
  const mount = at(script, plan({ step: { context: 'batch', script } }))
  assert.ok(mount?.kind === 'bind' && mount.source === script && mount.flags.includes('ro') && !mount.trusted)
})

test("PMIx' directories are mounted where they are, with the user's rights", () => {
  const all = plan({ environment: { PMIX_SERVER_TMPDIR: '/var/spool/slurmd/pmix.4711.0' } })
  for (const target of ['/var/spool/slurmd/pmix.4711.0', '/tmp/spmix_appdir_2041_4711.0']) {
    const mount = at(target, all)
    assert.ok(mount?.kind === 'bind' && mount.source === target && mount.optional && !mount.trusted)
  }
  const moved = plan({ environment: { PMIX_SERVER_TMPDIR: '/x', SLURM_PMIX_TMPDIR: '/dev/shm' } })
  assert.ok(at('/dev/shm/spmix_appdir_2041_4711.0', moved))
  assert.equal(plan({ environment: { PMIX_SERVER_TMPDIR: 'relative' } }).length, plan().length)
})

test("PMIx' client directory is where Slurm's files say and it was found", () => {
  const input = planInput({ environment: { PMIX_SERVER_TMPDIR: '/x' } })
  const found = '/local/spmix_appdir_2041_4711.0'
  const mounts = planMounts({ ...input, host: { machine: '', pmixClients: [found, found] } })
  assert.equal(mounts.filter(({ target }) => target.includes('spmix')).length, 1)
  assert.ok(at(found, mounts))
})

test("PALS' directory is this step's alone", () => {
  const spool = '/var/spool/slurmd/mpi_cray_shasta'
  const own = `${spool}/4711.0`
  const environment = { PALS_APINFO: `${own}/apinfo`, PALS_SPOOL_DIR: own }
  const all = plan({ environment })
  const mount = at(own, all)
  assert.ok(mount?.kind === 'bind' && mount.source === own && mount.optional && !mount.trusted)
  assert.equal(all.length, plan().length + 1)
  for (const wrong of [`${spool}/4712.0`, spool, `${own}/../4712.0`, 'rel/4711.0'])
    assert.equal(plan({ environment: { PALS_SPOOL_DIR: wrong } }).length, plan().length, wrong)
  assert.equal(plan({ environment, options: ['container-mpi=off'] }).length, plan().length)
})

test("the step's directory, and shared memory of a size", () => {
  assert.ok(at('/work/run', plan({ options: ['container-mount-cwd=1'] })))
  const shm = at('/dev/shm', plan({ options: ['container-shm-size=8G'] }))
  assert.ok(shm?.kind === 'tmpfs' && shm.options.endsWith('size=8G'))
})

test("the site's mounts come first, under the user's identity, and it may keep places for itself", () => {
  const site = 'mounts = /scratch/${USER}:/scratch:nofail,/apps:/apps:ro\nmounts_deny = /scratch,/opt'
  const all = plan({ site })
  const scratch = at('/scratch', all)
  assert.ok(
    scratch?.kind === 'bind' && scratch.source === '/scratch/ada' && scratch.optional && !scratch.trusted,
  )
  assert.equal(scratch.origin, 'berth.conf:1')
  const what = 'mounting over /opt/x is not allowed on this system'
  refuses(() => plan({ site, ...mounts('/a:/opt/x') }), 'BERTH_EPOLICY', what)
  refuses(() => plan({ site, ...mounts('/a:/x/../opt/x') }), 'BERTH_EPOLICY', what)
  assert.ok(at('/optional', plan({ site, ...mounts('/a:/optional') })))
})

test('whatever is asked for, a planned target is an absolute path below the root', () => {
  let seed = 99
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2 ** 31
    return seed % below
  }
  const parts = ['/', '.', '..', '/..', './', 'a', '//', ' ', '\\', '"', '\\:', '~']
  for (let round = 0; round < 3000; round++) {
    const target = Array.from({ length: 1 + random(6) }, () => parts[random(parts.length)]).join('')
    try {
      for (const mount of plan(mounts(`/a:${target}`)).slice(-1)) {
        assert.match(mount.target, /^\/[^/]/)
        assert.ok(!mount.target.split('/').some((part) => part === '..' || part === '.'), mount.target)
      }
    } catch (error) {
      const codes = ['BERTH_EOPTION', 'BERTH_EMOUNTTARGET']
      assert.ok(codes.includes((error as { code?: string }).code ?? ''), `${target}: ${error}`)
    }
  }
})

test('each part has a reason and an origin', () => {
  for (const mount of plan({ options: ['container-mounts=/a,tmpfs:/b', 'container-mount-home=1'] })) {
    assert.ok(mount.reason !== '' && mount.origin !== '', mount.target)
  }
})

test("the cookie of Slurm's X11 tunnel, and no other file that XAUTHORITY names", () => {
  const cookie = '/tmp/.Xauthority-a1B2c3'
  const mount = at(cookie, plan({ environment: { XAUTHORITY: cookie } }))
  assert.ok(mount?.kind === 'bind' && mount.source === cookie && mount.flags.includes('ro'))
  for (const other of ['/etc/shadow', '.Xauthority-a1B2c3', '/home/ada/.Xauthority'])
    assert.equal(plan({ environment: { XAUTHORITY: other } }).length, plan().length)
})

test.run()
