// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, match } from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Places } from '../../src/cli/command.js'
import { checkFeatures } from '../../src/cli/doctor_kernel.js'
import { checkInstallation } from '../../src/cli/doctor_reach.js'
import { checkArguments } from '../../src/cli/doctor_site.js'
import { checkLines } from '../../src/cli/doctor_slurm.js'
import { placesHere } from '../../src/cli/places.js'
import { keeperArguments, readPlugstack } from '../../src/cli/plugin_line.js'
import { DIST } from '../../src/site/dist.js'
import { suite } from '../suite.js'

const test = suite('berth doctor reads plugstack.conf')
const dir = mkdtempSync(join(tmpdir(), 'berth-doctor-'))
const places = { runtimeDir: '/run/berth' }
const plugstack = join(dir, 'plugstack.conf')

test.after(() => rmSync(dir, { recursive: true }))

async function findings(text: string) {
  writeFileSync(plugstack, text)
  return checkLines(await readPlugstack(plugstack), plugstack, places)
}

/** The node's Slurm is that of `dir`. */
async function withSlurmConf(body: (conf: string) => Promise<void>): Promise<void> {
  const conf = join(dir, 'slurm.conf')
  const before = process.env.SLURM_CONF
  process.env.SLURM_CONF = conf
  writeFileSync(conf, `PlugStackConfig=${plugstack}\n`)
  try {
    await body(conf)
  } finally {
    if (before === undefined) delete process.env.SLURM_CONF
    else process.env.SLURM_CONF = before
  }
}

test('a required line is good', async () => {
  const [plugin, ...others] = await findings('# ours\nrequired /opt/berth/dist/berth.so\n')
  equal(plugin?.state, 'ok')
  match(plugin?.found ?? '', /plugstack\.conf:2 loads \/opt\/berth\/dist\/berth\.so/)
  equal(others.length, 0)
})

test('the line is found through include with a wildcard', async () => {
  mkdirSync(join(dir, 'conf.d'), { recursive: true })
  writeFileSync(join(dir, 'conf.d/50-berth.conf'), 'required /opt/berth.so runtime_dir=/run/other\n')
  const [plugin, place] = await findings('include conf.d/*.conf\n')
  equal(plugin?.state, 'ok')
  equal(place?.fix, 'berth doctor --runtime-dir=/run/other')
})

test('an optional line fails: it would let steps run on the host', async () => {
  const [plugin] = await findings('optional /opt/berth.so\n')
  equal(plugin?.state, 'fail')
  match(plugin?.found ?? '', /would run on the host/)
})

test('no line fails and the line to add is named', async () => {
  const [plugin] = await findings('required spank_other.so\n')
  equal(plugin?.state, 'fail')
  match(plugin?.fix ?? '', new RegExp(`required ${join(DIST, 'berth.so')}`))
})

test('pyxis beside it is named', async () => {
  const found = await findings('required /opt/berth.so\nrequired /usr/lib/slurm/spank_pyxis.so\n')
  equal(found.find(({ check }) => check === 'other plugins')?.state, 'fail')
})

test('an include that includes itself ends', async () => {
  writeFileSync(plugstack, `include ${plugstack}\nrequired /opt/berth.so\n`)
  equal((await readPlugstack(plugstack)).length > 0, true)
})

test('a worker that root wakes by a command obeys the line as one that a step wakes', async () => {
  await withSlurmConf(async (conf) => {
    const ask = async (line: string, own: Places = places) => {
      writeFileSync(plugstack, line)
      return (await keeperArguments(own)).join(' ')
    }
    equal(
      await ask('required /opt/berth.so registries_allow=reg.site store=/data/berth env_set=A=b\n'),
      '--registries_allow=reg.site --store=/data/berth --env_set=A=b --runtime-dir=/run/berth',
    )
    // What nobody says here, berth.conf may say.
    const defaults = '--runtime-dir=/run/berth'
    equal(await ask('required /opt/other.so x=y\n'), defaults)
    // Another instance than that of the line.
    equal(await ask('required /opt/berth.so runtime_dir=/run/other store=/data/other\n'), defaults)
    equal(
      await ask('required /opt/berth.so store=/data/berth\n', { ...places, store: '/mine' }),
      '--store=/mine --runtime-dir=/run/berth',
    )
    rmSync(conf)
    equal((await keeperArguments(places)).join(' '), defaults)
  })
})

test('a command that is told of no directory takes that of the line', async () => {
  const before = process.env.BERTH_RUNTIME_DIR
  delete process.env.BERTH_RUNTIME_DIR
  try {
    await withSlurmConf(async () => {
      writeFileSync(plugstack, 'required /opt/berth.so runtime_dir=/run/trial/ store=/s\n')
      equal((await placesHere({})).runtimeDir, '/run/trial')
      equal((await placesHere({ 'runtime-dir': '/run/berth' })).runtimeDir, '/run/berth')
      writeFileSync(plugstack, 'required /opt/berth.so runtime_dir=trial\n')
      equal((await placesHere({})).runtimeDir, '/run/berth')
    })
  } finally {
    if (before !== undefined) process.env.BERTH_RUNTIME_DIR = before
  }
})

test('a worker that was started without what the line says: told with the way to mend it', () => {
  const config = join(dir, 'site.conf')
  const status = { version: '1', pid: 7, rss: 1, started: 1, steps: 0, siteErrors: [], config }
  const args = ['runtime_dir=/run/berth', 'container_scope=job', 'execute_entrypoint=1', 'use_squashfuse=1']
  const line = { file: '/etc/plugstack.conf', line: 3, required: true, plugin: 'berth.so', args }
  const where = { runtimeDir: dir }
  writeFileSync(config, '')
  const ask = (given?: Record<string, string>) =>
    checkArguments(given === undefined ? status : { ...status, given }, line, where)
  deepEqual(ask(), [])
  deepEqual(ask({ container_scope: 'job', execute_entrypoint: '1' }), [])
  const [finding, ...others] = ask({})
  equal(others.length, 0)
  equal(
    finding?.found,
    'the worker (pid 7) was started without container_scope=job execute_entrypoint=1 of /etc/plugstack.conf:3',
  )
  match(
    finding?.fix ?? '',
    /^put it into berth\.conf, config= into the unit: systemd gives a worker no arguments/,
  )
  writeFileSync(join(dir, 'keeper.pid'), '6')
  match(ask({})[0]?.fix ?? '', /^kill \$\(cat .*keeper\.pid\): running steps go on/)
  writeFileSync(config, 'container_scope = job\nexecute_entrypoint = 1\n')
  deepEqual(ask({}), [])
})

test('an installation that users cannot enter, or that others than root can change, is named', async () => {
  const dist = join(dir, 'opt/dist')
  mkdirSync(join(dist, 'bin'), { recursive: true })
  for (const part of ['berth.so', 'berth-exec', 'bin/berth.js']) writeFileSync(join(dist, part), '')
  symlinkSync(process.execPath, join(dist, 'node'))
  chmodSync(dir, 0o755)
  chmodSync(join(dist, 'berth-exec'), 0o755)
  const said = async () => {
    const below = (await checkInstallation(dist)).filter(({ found }) => found.includes(dir))
    return below.map(({ state, found }) => `${state} ${found.replaceAll(dir, '')}`)
  }
  const own = process.getuid?.() === 0 ? [] : undefined
  if (own !== undefined) deepEqual(await said(), [])
  chmodSync(join(dir, 'opt'), 0o700)
  equal((await said()).includes('fail users and importers cannot enter /opt (mode 700)'), true)
  chmodSync(join(dir, 'opt'), 0o750)
  equal((await said()).includes('warn users outside of its group cannot enter /opt (mode 750)'), true)
  chmodSync(join(dir, 'opt'), 0o777)
  equal(
    (await said()).includes('warn others than root can change /opt, and root runs what is below it'),
    true,
  )
  chmodSync(join(dir, 'opt'), 0o755)
  chmodSync(join(dist, 'berth-exec'), 0o744)
  equal((await said()).includes('fail users cannot use /opt/dist/berth-exec'), true)
})

test('what a missing loop device keeps from being tried is not called missing', () => {
  const all = {
    ...{ release: '6.1', mountApi: true, loop: true, squashfs: true, overlay: true },
    ...{ userNamespaces: true, squashfsIdmap: true, landlock: true, pidfd: true },
  }
  const found = (features: Partial<typeof all>) =>
    checkFeatures({ ...all, ...features }, true)
      .filter(({ state }) => state !== 'ok')
      .map(({ state, check, found }) => `${state} ${check}: ${found}`)
  deepEqual(found({}), [])
  deepEqual(found({ loop: false, squashfs: false, userNamespaces: false, squashfsIdmap: false }), [
    'fail loop devices: /dev/loop-control cannot be used',
    'warn squashfs: not tried without loop devices',
    'warn user namespaces: not tried without loop devices',
    'warn idmapped squashfs: not tried without loop devices',
  ])
  deepEqual(found({ userNamespaces: false, squashfsIdmap: false }), [
    'fail user namespaces: cannot be made',
    'warn idmapped squashfs: not tried without user namespaces',
  ])
})

test.run()
