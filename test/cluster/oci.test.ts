// SPDX-License-Identifier: Apache-2.0
/** `srun --container=BUNDLE`: berth as the runtime of Slurm's own oci.conf, with no flag of the plugin's. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import { must, type Outcome, until } from './command.js'
import { exits, prints, says } from './expect.js'
import { useCluster } from './fixture.js'
import { otherRelease } from './images.js'
import { USER_A } from './users.js'

/** A clone that only root can enter was copied beside the cluster. */
const distOf = (dir: string): string =>
  existsSync(join(dir, 'checkout')) ? join(dir, 'checkout/dist') : resolve(import.meta.dirname, '../../dist')

/** As docs/operators.md has it, with this instance's directory. */
function ociConf(nodeDir: string): string {
  const dist = distOf(join(nodeDir, '..'))
  const berth = (operation: string) =>
    `"exec ${dist}/node ${dist}/bin/berth.js oci ${operation.replace(' ', ` --runtime-dir=${nodeDir}/berth `)}"`
  return [
    `RunTimeRun=${berth('run --bundle=%b %n.%u.%j.%s.%t')}`,
    `RunTimeQuery=${berth('state %n.%u.%j.%s.%t')}`,
    `RunTimeKill=${berth('kill --all %n.%u.%j.%s.%t')}`,
    `RunTimeDelete=${berth('delete --force %n.%u.%j.%s.%t')}`,
    '',
  ].join('\n')
}

const test = suite("Slurm's own containers")
const at = useCluster(test, { confFiles: (dir) => ({ 'oci.conf': ociConf(dir) }) })

function berth(...args: string[]): Promise<Outcome> {
  const dist = distOf(at.cluster.dir)
  const places = [`--runtime-dir=${at.cluster.nodes[0]?.runtimeDir}`]
  return at.cluster.command([`${dist}/node`, `${dist}/bin/berth.js`, ...args, ...places])
}

/** A bundle with a root of one program, which the user has. */
async function makeBundle(name: string, more: Record<string, unknown> = {}): Promise<string> {
  const bundle = join(at.cluster.shared, name)
  rmSync(bundle, { recursive: true, force: true })
  mkdirSync(join(bundle, 'rootfs/bin'), { recursive: true })
  mkdirSync(join(bundle, 'rootfs/etc'))
  copyFileSync('/bin/busybox', join(bundle, 'rootfs/bin/busybox'))
  for (const applet of ['sh', 'cat', 'id', 'ls'])
    await must(['ln', '-s', 'busybox', join(bundle, 'rootfs/bin', applet)])
  writeFileSync(join(bundle, 'rootfs/etc/inside'), 'inside\n')
  const config = {
    ociVersion: '1.0.2',
    process: { args: ['sh'], env: ['PATH=/bin', 'FROM=bundle'], cwd: '/etc' },
    root: { path: 'rootfs' },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    ...more,
  }
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config))
  await must(['chown', '-R', `${USER_A.name}:`, bundle])
  return bundle
}

test('a bundle made of an image: two nodes run it, nothing is unpacked', async () => {
  // The worker of each node has started, and has the image.
  exits(await at.cluster.srun(['-N2', `--container-image=${at.images.debian}`, 'true']), 0)
  const bundle = join(at.cluster.shared, 'image')
  exits(await berth('oci', 'bundle', at.images.debian, bundle), 0)
  const script = 'grep -h CODENAME /etc/os-release; echo $JOBS; id -u; pwd; exit 3'
  const seen = await at.cluster.srun(['-N2', '-n2', `--container=${bundle}`, 'sh', '-c', script], {
    env: { JOBS: 'from the job' },
  })
  const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'))
  assert.match(config.annotations['io.berth.image'], /@sha256:/)
  exits(seen, 3)
  const uid = (await must(['id', '-u', USER_A.name])).stdout.trim()
  const one = [`VERSION_CODENAME=${otherRelease()}`, 'from the job', uid, config.process.cwd].sort()
  assert.equal(seen.stdout.trim().split('\n').sort(), [...one, ...one].sort())
  says(await berth('oci', 'bundle', at.images.debian, bundle), /config\.json: cannot be written \(EEXIST\)/)
})

test('a bundle with a root of its own: command, environment, directory, mounts; what is not applied is named', async () => {
  const data = join(at.cluster.shared, 'data')
  writeFileSync(data, 'mounted\n', { mode: 0o644 })
  const bundle = await makeBundle('own', {
    hostname: 'box',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/data', type: 'none', source: '../data', options: ['rbind', 'ro'] },
      { destination: '/scratch', type: 'tmpfs', source: 'tmpfs', options: ['size=1m', 'nosuid'] },
    ],
    linux: { namespaces: [{ type: 'user' }, { type: 'mount' }, { type: 'pid' }] },
  })
  const script =
    'cat inside /data; echo $FROM $PATH; pwd; echo x >/scratch/x && echo x >/etc/x && echo wrote; (echo x >/data) 2>&1'
  const seen = await at.cluster.srun(['-n1', `--container=${bundle}`, 'sh', '-c', script], {
    env: { FROM: 'job' },
  })
  prints({ ...seen, code: 0 }, [
    ...['inside', 'mounted', 'bundle /bin', '/etc', 'wrote'],
    "sh: can't create /data: Read-only file system",
  ])
  says(seen, /berth: warning: without effect in .*config\.json: hostname, linux\.namespaces pid/)
  assert.is(existsSync(join(bundle, 'rootfs/etc/x')), false, 'the root itself is not written to')
  exits(await at.cluster.srun(['-n1', `--container=${bundle}`, 'nonesuch']), 127)
})

test('a batch script runs in it', async () => {
  const bundle = await makeBundle('batch')
  const seen = exits(
    await at.cluster.batch('#!/bin/sh\ncat /etc/inside\nexit 4\n', [`--container=${bundle}`]),
    4,
  )
  assert.match(seen.stdout, /^inside$/m)
})

test('scancel reaches the command once, and leaves nothing', async () => {
  const bundle = await makeBundle('long')
  const script = 'trap "echo got" USR1; echo up $SLURM_JOB_ID; while :; do sleep 0.1; done'
  const job = at.cluster.start(['srun', '-n1', `--container=${bundle}`, 'sh', '-c', script])
  await job.sees(/up \d+/)
  const id = /up (\d+)/.exec(job.output())?.[1] ?? ''
  const name = `n1.${USER_A.name}.${id}.0.0`
  assert.is(JSON.parse((await berth('oci', 'state', name)).stdout).status, 'running')
  await at.cluster.command(['scancel', '-s', 'USR1', id])
  await job.sees(/got/)
  await at.cluster.command(['scancel', id])
  const ended = await job.done
  assert.is(ended.code === 0, false)
  assert.is(ended.output.match(/got/g)?.length, 1)
  const state = async () => JSON.parse((await berth('oci', 'state', name)).stdout).status
  await until('its end', async () => (await state()) === 'stopped')
})

test('what cannot be had is refused by name', async () => {
  const refused: [Record<string, unknown>, RegExp][] = [
    [{ hooks: { prestart: [{ path: '/bin/true' }] } }, /BERTH_EBUNDLE.*has hooks/],
    [{ mounts: [{ destination: '/x', type: 'nfs', source: 'a:/b' }] }, /mount \/x is of type "nfs"/],
    [{ annotations: { 'io.berth.image': 'A B' } }, /BERTH_EIMAGEREF/],
    [{ annotations: { 'io.berth.container-mont': '1' } }, /unknown annotation io\.berth\.container-mont/],
  ]
  for (const [more, text] of refused) {
    const bundle = await makeBundle('refused', more)
    says(exits(await at.cluster.srun(['-n1', `--container=${bundle}`, 'true']), 125), text)
  }
  const bundle = await makeBundle('refused')
  const both = [`--container=${bundle}`, `--container-image=${at.images.debian}`]
  says(await at.cluster.srun(['-n1', ...both, 'true']), /together with --container-image/)
  rmSync(join(bundle, 'rootfs'), { recursive: true })
  says(exits(await at.cluster.srun(['-n1', `--container=${bundle}`, 'true']), 125), /rootfs/)
})

test.run()
