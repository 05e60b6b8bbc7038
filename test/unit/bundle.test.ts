// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, throws } from 'node:assert/strict'
import { readBundle, writtenFrom } from '../../src/request/bundle.js'
import { suite } from '../suite.js'

const test = suite('OCI bundles')

const PROCESS = { args: ['sh'], cwd: '/' }
const ROOT = { path: 'rootfs' }
const read = (config: object, written?: object) =>
  readBundle('/b', JSON.stringify(config), written && JSON.stringify(written))
const refuses = (config: object, problem: RegExp) =>
  throws(() => read({ process: PROCESS, root: ROOT, ...config }), problem)

/** As `runc spec --rootless` writes it, what a user of Slurm's manual starts with. */
const RUNC_SPEC = {
  ociVersion: '1.0.2-dev',
  process: {
    ...{ terminal: true, user: { uid: 0, gid: 0 }, args: ['sh'], cwd: '/', noNewPrivileges: true },
    env: ['PATH=/usr/bin:/bin', 'TERM=xterm'],
    capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'] },
    rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
  },
  root: { path: 'rootfs', readonly: true },
  hostname: 'runc',
  mounts: [
    { destination: '/proc', type: 'proc', source: 'proc' },
    { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755'] },
    { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'newinstance'] },
    { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['size=65536k'] },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid'] },
    { destination: '/sys', type: 'none', source: '/sys', options: ['rbind', 'nosuid', 'ro'] },
  ],
  linux: {
    uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
    namespaces: [{ type: 'pid' }, { type: 'ipc' }, { type: 'uts' }, { type: 'mount' }, { type: 'user' }],
    maskedPaths: ['/proc/kcore'],
  },
}

test('what runc spec --rootless writes can be run; what is left out is named', () => {
  const { args, options, ignored, env } = read(RUNC_SPEC)
  deepEqual(args, ['sh'])
  deepEqual(options, [
    'container-image=dir:/b/rootfs',
    'container-workdir=/',
    'container-readonly=1',
    'container-remap-root=1',
    'container-unshare=ipc,uts',
    'container-env=PATH,TERM',
    'no-container-entrypoint=1',
  ])
  deepEqual(ignored, ['hostname', 'process.rlimits', 'linux.namespaces pid'])
  equal(env.get('PATH'), '/usr/bin:/bin')
})

test("Slurm adds the job's environment: the bundle's own values hold, the rest is the job's", () => {
  const written = { process: { ...PROCESS, env: ['PATH=/own', 'SLURM_PROCID=9'] }, root: ROOT }
  const env = [...written.process.env, 'PATH=/host', 'A=1', 'A=2', 'SLURM_PROCID=0']
  const bundle = read({ process: { ...PROCESS, env }, root: ROOT }, written)
  deepEqual(
    [...bundle.env],
    [
      ['PATH', '/own'],
      ['SLURM_PROCID', '0'],
      ['A', '2'],
    ],
  )
  equal(bundle.options.includes('container-env=PATH,SLURM_PROCID'), true)
  equal(writtenFrom('/spool/1', JSON.stringify({ root: { path: '/home/b/rootfs' } })), '/home/b')
  equal(writtenFrom('/b', JSON.stringify({ root: ROOT })), undefined)
  equal(writtenFrom('/b', JSON.stringify({ root: { path: '/b/rootfs' } })), undefined)
})

test('mounts become those of --container-mounts', () => {
  const mounts = [
    { destination: '/a', type: 'bind', source: 'data:1', options: ['rbind', 'ro', 'rprivate'] },
    { destination: 'b', source: '/x', options: ['bind'] },
    { destination: '/c', type: 'tmpfs', options: ['size=1m', 'uid=5', 'mode=0700'] },
  ]
  const { options } = read({ process: PROCESS, root: ROOT, mounts })
  equal(options[1], 'container-mounts=/b/data\\:1:/a:ro+rprivate,/x:/b:bind,tmpfs:/c:size=1m+mode=0700')
})

test('an image of the store, and any option, by annotation', () => {
  const annotations = { 'io.berth.image': 'debian:12', 'io.berth.container-mount-home': '1', other: 'x' }
  const { options, ignored } = read({ process: PROCESS, annotations })
  equal(options[0], 'container-image=debian:12')
  equal(options.at(-1), 'container-mount-home=1')
  deepEqual(ignored, [])
})

test('what cannot be had, or understood, is refused', () => {
  throws(() => readBundle('/b', '{', undefined), /bundle \/b\/config.json: is no JSON/)
  throws(() => readBundle('/b', '[]', undefined), /is no JSON object/)
  throws(() => readBundle('/b', 'null', undefined), /is no JSON object/)
  refuses({ process: { cwd: '/' } }, /process\.args is no list/)
  refuses({ process: { args: [], cwd: '/' } }, /names no program/)
  refuses({ process: { args: ['/opt/dist/berth-exec'], cwd: '/' } }, /together with --container-image/)
  refuses({ process: { args: ['sh'], cwd: 'here' } }, /process\.cwd is no absolute path/)
  refuses({ process: { ...PROCESS, env: [1] } }, /process\.env is no list/)
  refuses({ root: {} }, /neither root\.path nor io\.berth\.image/)
  refuses({ hooks: { prestart: [{ path: '/x' }] } }, /has hooks/)
  refuses({ windows: {} }, /another system: windows/)
  refuses({ mounts: [{ type: 'bind' }] }, /without destination/)
  refuses({ mounts: [{ destination: '/x', type: 'bind' }] }, /names no source/)
  refuses({ mounts: [{ destination: '/x', type: 'overlay' }] }, /type "overlay"/)
  refuses(
    { mounts: [{ destination: '/x', type: 'tmpfs', options: ['tmpcopyup'] }] },
    /unknown option "tmpcopyup"/,
  )
  refuses({ mounts: [{ destination: '/x', type: 'bind', uidMappings: [{ size: 1 }] }] }, /uidMappings cannot/)
  refuses(
    { linux: { namespaces: [{ type: 'network', path: '/proc/1/ns/net' }] } },
    /joins the network namespace/,
  )
  refuses({ annotations: { 'io.berth.container-nonesuch': '1' } }, /unknown annotation/)
})

test.run()
