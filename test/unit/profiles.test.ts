// SPDX-License-Identifier: Apache-2.0
/** Profiles: read from berth.conf and podman-hpc modules, chosen by triggers, and what they add to a plan. */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import * as assert from 'uvu/assert'
import type { AcceleratorFacts } from '../../src/plan/accelerators.js'
import { planStep } from '../../src/plan/plan.js'
import { checkProfiles } from '../../src/plan/profile_check.js'
import { checkNamedProfiles } from '../../src/plan/profile_choice.js'
import type { Plan, PlannedMount } from '../../src/plan/spec.js'
import { BerthError } from '../../src/report/errors.js'
import { loadSite, type Site } from '../../src/site/site.js'
import { suite } from '../suite.js'
import { hostWith, withFiles } from './cdi_samples.js'
import { type Given, planInput } from './plan_input.js'

const test = suite('profiles')
const EXAMPLES = resolve(import.meta.dirname, '../../docs/operators/profiles')

function plan(
  given: Given,
  globs: Record<string, string[]> = {},
  more: Partial<AcceleratorFacts> = {},
): Plan {
  const accelerators = { ...hostWith({}), globs: new Map(Object.entries(globs)), ...more }
  const input = { ...planInput(given), launcher: '/opt/berth/dist/berth-exec' }
  return planStep({ ...input, host: { machine: 'x86_64', accelerators } })
}

function refusal(
  given: Given,
  globs: Record<string, string[]> = {},
  more: Partial<AcceleratorFacts> = {},
): string {
  try {
    plan(given, globs, more)
  } catch (error) {
    if (error instanceof BerthError) return `${error.code} ${error.message}`
    throw error
  }
  return ''
}

const use = (...names: string[]) => [`container-profile=${names.join(',')}`]
const at = (made: Plan, target: string): PlannedMount | undefined =>
  made.mounts.find((mount) => mount.target === target)
const variable = (made: Plan, name: string) => made.process.env.find((one) => one.name === name)
const siteOf = (text: string): Site =>
  withFiles([{ 'berth.conf': text }], ([directory = '']) =>
    loadSite({ config: join(directory, 'berth.conf') }),
  )

const SITE = `
[profile data]
help = the data of the site
bind[] = /data/\${USER}::ro
bind[] = /sw/lib*.so:/opt/sw/lib/
bind[] = /nothing:/nothing:nofail
copy = /etc/site.conf:/etc/site.conf
env_set = SITE=1, OWNER=\${USER}
env_prepend = PATH=/opt/sw/bin
env_append = PATH=/opt/last
env_unset = NOISE
env_keep = FI_PROVIDER
ld_path = /opt/sw/lib
`
const FOUND = {
  '/data/ada': ['/data/ada'],
  '/sw/lib*.so': ['/sw/liba.so', '/sw/libb.so'],
  '/etc/site.conf': ['/etc/site.conf'],
}

test('each kind of edit, with the profile as its reason', () => {
  const environment = { FI_PROVIDER: 'cxi' }
  const config = { env: ['PATH=/usr/bin', 'FI_PROVIDER=tcp'] }
  const made = plan({ site: SITE, options: use('data'), environment, config }, FOUND)
  const data = at(made, '/data/ada')
  assert.equal(data?.kind === 'bind' && [data.source, data.flags, data.trusted, data.reason, data.origin], [
    '/data/ada',
    ['nosuid', 'ro'],
    false,
    'profile data',
    'flag --container-profile',
  ])
  assert.ok(at(made, '/opt/sw/lib/liba.so') && at(made, '/opt/sw/lib/libb.so'))
  assert.is(at(made, '/nothing'), undefined)
  const copy = at(made, '/etc/site.conf')
  assert.is(copy?.kind === 'bind' && copy.plain, true)
  assert.is(variable(made, 'PATH')?.value, '/opt/sw/bin:/usr/bin:/opt/last')
  assert.is(variable(made, 'OWNER')?.value, 'ada')
  assert.is(variable(made, 'NOISE')?.action, 'unset')
  assert.is(variable(made, 'FI_PROVIDER')?.value, 'cxi')
  assert.is(variable(made, 'LD_LIBRARY_PATH')?.value, '/opt/sw/lib')
})

test('a search path keeps the host’s value where its user wants that, and its own of an environment file', () => {
  const environment = { PATH: '/host/bin' }
  const given = { site: SITE, environment, config: { env: ['PATH=/usr/bin'] } }
  const made = plan({ ...given, options: [...use('data'), 'container-env=PATH'] }, FOUND)
  assert.is(variable(made, 'PATH')?.action, 'set')
  assert.is(variable(made, 'PATH')?.value, '/opt/sw/bin:/host/bin:/opt/last')
})

test('a profile comes by flag, variable, label, annotation, host file or always; none keeps the site’s away', () => {
  const site = `
[profile a]
trigger = always
env_set = A=1
[profile e]
trigger = env USE_E, env MODE=fast
env_set = E=1
[profile l]
trigger = label org.site.profile=l
env_set = L=1
[profile h]
trigger = host /dev/cxi*
env_set = H=1
[profile n]
trigger = annotation com.hooks.net.enabled, annotation com.hooks.net.variant=fast
env_set = N=1
`
  const seen = (given: Given, globs = {}) => {
    const made = plan({ site, ...given }, globs)
    return ['A', 'E', 'L', 'H', 'N'].filter((name) => variable(made, name) !== undefined).join('')
  }
  assert.is(seen({}), 'A')
  assert.is(seen({ environment: { USE_E: '1' } }), 'AE')
  assert.is(seen({ environment: { USE_E: '0' } }), 'A')
  assert.is(seen({ environment: { MODE: 'fast' } }), 'AE')
  assert.is(seen({ config: { labels: { 'org.site.profile': 'l' } } }), 'AL')
  const edf = (annotations: Record<string, string>) => {
    const file = { image: 'x', mounts: [], devices: [], env: {}, annotations }
    const SLURM_BERTH_EDF = JSON.stringify({ version: 1, name: 'e', file: '/e.toml', ...file })
    return seen({ environment: { SLURM_BERTH_EDF } })
  }
  assert.is(edf({ 'com.hooks.net.enabled': 'true' }), 'AN')
  assert.is(edf({ 'com.hooks.net.enabled': 'false' }), 'A')
  assert.is(edf({ 'com.hooks.net.variant': 'fast' }), 'AN')
  assert.ok(siteOf(site).profiles.annotations.has('com.hooks.net.enabled'))
  assert.is(seen({}, { '/dev/cxi*': ['/dev/cxi0'] }), 'AH')
  assert.is(seen({ options: use('h', 'none') }), 'H')
})

test('what depends comes after, and what excludes each other is refused, unless only one was asked for', () => {
  const site = `
[profile base]
env_set = WHO=base
[profile top]
depends = base
env_set = WHO=top
[profile other]
conflicts = base
[profile auto]
trigger = always
conflicts = top
env_set = AUTO=1
[profile loop]
depends = loop2
[profile loop2]
depends = loop
`
  assert.is(variable(plan({ site, options: use('top') }), 'WHO')?.value, 'top')
  const made = plan({ site, options: use('top') })
  assert.is(variable(made, 'AUTO'), undefined)
  assert.ok(made.notes.some((note) => /profile auto is left out: top was asked for/.test(note)))
  assert.match(
    refusal({ site, options: use('base', 'other') }),
    /BERTH_EPROFILE profile base: cannot be used with other/,
  )
  assert.match(refusal({ site, options: use('loop') }), /depends on itself: loop → loop2/)
  assert.match(refusal({ site, options: use('absent') }), /profile absent: there is none of that name here/)
  const { profiles } = siteOf(site)
  assert.throws(() => checkNamedProfiles({ profiles: ['top', 'absent'] }, profiles), /profile absent/)
  checkNamedProfiles({ profiles: ['top', 'none'] }, profiles)
})

const MISTAKES: [string, RegExp][] = [
  ['frob = 1', /berth\.conf:2: frob: unknown key/],
  ['env_set = =x', /berth\.conf:2: env_set: "=x" should be NAME=VALUE/],
  ['env_unset = A=b', /env_unset: "A=b" should be NAME/],
  ['trigger = sometimes', /trigger: "sometimes" should be always/],
  ['devices = gpu', /devices: "gpu" should be VENDOR/],
  ['ld_path = lib', /ld_path: "lib" should be an absolute path/],
  ['mpi = here', /mpi: "here" should be an absolute path/],
  ['mpi_family = lam', /mpi_family: "lam" should be mpich, openmpi, abi/],
  ['hooks = ./x', /hooks: ".\/x" should be/],
  ['copy = /a', /copy: "\/a" should be/],
  ['depends = gone', /depends: there is no profile gone/],
  ['bind = rel:/x', /"rel:\/x" should be \/SRC/],
  ['bind = /a:/b:shiny', /unknown bind flag "shiny"/],
]
for (const [line, pattern] of MISTAKES) {
  test(`a mistake is told with its place, and fails only who uses the profile: ${line}`, () => {
    const text = `[profile p]\n${line}\n`
    const site = siteOf(text)
    assert.is(site.errors.length, 0)
    assert.match(checkProfiles(site.profiles).join('\n'), pattern)
    assert.match(refusal({ site: text, options: use('p') }), /BERTH_EPROFILE/)
    assert.is(refusal({ site: text }), '')
  })
}

test('each mistake is told at its own line and key, also of lists that are written line by line', () => {
  const wrong: [key: string, value: string][] = [
    ...([
      ['help', 'fine'],
      ['trigger', 'sometimes'],
      ['conflicts', '-'],
      ['depends', 'gone'],
    ] as const),
    ...(['env_set', 'env_prepend', 'env_append'] as const).map((key): [string, string] => [key, '=x']),
    ...([
      ['env_unset', 'A=b'],
      ['env_keep', '1'],
      ['bind[]', '/a:/b'],
      ['bind[]', 'rel:/x'],
    ] as const),
    ...([
      ['bind[]', '/a:/b:shiny'],
      ['copy', '/a'],
      ['devices', 'gpu'],
      ['ld_path', 'lib'],
    ] as const),
    ...([
      ['hooks', './x'],
      ['mpi', 'here'],
      ['frob', '1'],
      ['depends[]', 'p'],
    ] as const),
  ].map(([key, value]) => [key, value])
  const text = ['[profile p]', ...wrong.map(([key, value]) => `${key} = ${value}`)].join('\n')
  const found = checkProfiles(siteOf(text).profiles).map((line) => line.replace(/^.*berth\.conf/, ''))
  const right = ['help', 'bind[] /a:/b']
  const expected = wrong.flatMap(([key, value], index) =>
    right.includes(key) || right.includes(`${key} ${value}`)
      ? []
      : [`:${index + 2}: ${key.replace('[]', '')}: `],
  )
  for (const start of expected)
    assert.ok(
      found.some((line) => line.startsWith(start)),
      `${start}: ${found.join('\n')}`,
    )
  assert.is(found.length, expected.length)
})

test('a source that is missing fails its users, by name', () => {
  const site = '[profile p]\nbind = /gone\n'
  assert.match(refusal({ site, options: use('p') }), /profile p: \/gone is not on this node/)
  const home = `[profile p]\nbind = \${NOWHERE}/x\n`
  assert.match(refusal({ site: home, options: use('p') }), /variable is not set or empty: NOWHERE/)
  const many = '[profile p]\nbind = /l*:/x\n'
  assert.match(refusal({ site: many, options: use('p') }, { '/l*': ['/l1', '/l2'] }), /more than one file/)
})

test('keys after a profile are the profile’s, another section ends it, and the site’s own takes the shipped one’s place', () => {
  const site = siteOf('engine = native\n[profile home]\nhelp = ours\n[other]\nlog_level = debug\n')
  assert.is(site.get('log_level'), 'debug')
  assert.is(site.profiles.byName.get('home')?.help, 'ours')
  assert.match(site.profiles.byName.get('home')?.place ?? '', /berth\.conf:2$/)
})

test('all shipped profiles and all examples are without mistakes', () => {
  const shipped = siteOf('').profiles
  assert.equal(checkProfiles(shipped), [])
  for (const name of ['mpich', 'openmpi', 'cxi', 'verbs', 'nvidia', 'rocm', 'slurm', 'home', 'scratch'])
    assert.ok(shipped.byName.has(name), name)
  const files = readdirSync(EXAMPLES)
  assert.ok(files.length >= 3)
  for (const file of files) {
    const site = siteOf(readFileSync(join(EXAMPLES, file), 'utf8'))
    assert.equal([...site.errors.map(String), ...site.warnings, ...checkProfiles(site.profiles)], [], file)
  }
})

test('home and scratch are the user’s own', () => {
  const made = plan({ options: use('home') }, { '/home/ada': ['/home/ada'] })
  const kinds = made.mounts.filter(({ target }) => target === '/home/ada').map(({ kind }) => kind)
  assert.equal(kinds, ['dir', 'bind'])
  const site = siteOf('').profiles
  assert.ok(site.variables.has('SCRATCH'))
})

const MODULE = `name: mpich
cli_arg: mpi
help: Enable Cray MPICH Support
env: ENABLE_MPICH_SS
conflicts: ["openmpi-pmi2"]
shared_run: False
additional_args:
  - -e SLURM_*
  - -e LD_LIBRARY_PATH=/opt/udiImage/modules/mpich
  - -e NCCL_NET="AWS Libfabric"
  - -e FI_PROVIDER
  - --ipc=host
  - --privileged
copy:
  - ../podman-hpc/02-mpich.conf:/etc/ld.so.conf.d/02-mpich.conf
  - /usr/lib64/libcuda*:/usr/lib64/libcuda*
bind:
  - /dev/cxi*:/dev/cxi*
  - $SCRATCH:/scratch
  - /usr/lib/shifter/mpich-2.2:/opt/udiImage/modules/mpich
  - /opt/cray/libfabric/*/lib64/libfabric:/opt/cray/libfabric/*/lib64/libfabric
`

test('podman-hpc’s modules are read as they are', () => {
  withFiles(
    [
      {
        'mpich.yaml': MODULE,
        'bad.yaml': 'name: bad\nfrob: 1\n',
        'args.yaml': 'name: args\nadditional_args: [--volume=x]\n',
      },
    ],
    ([directory = '']) => {
      const { profiles } = loadSite({ podman_hpc_modules: directory, config: '/nonexistent' })
      const mpich = profiles.byName.get('mpich')
      assert.equal(mpich?.problems, [])
      assert.equal(mpich?.triggers, [{ kind: 'env', name: 'ENABLE_MPICH_SS' }])
      assert.equal(mpich?.binds, [
        '/dev/cxi*::nofail',
        `\${SCRATCH}:/scratch:nofail`,
        '/usr/lib/shifter/mpich-2.2:/opt/udiImage/modules/mpich:nofail',
        '/opt/cray/libfabric/*/lib64/libfabric::nofail',
        `${join(directory, '../podman-hpc/02-mpich.conf')}:/etc/ld.so.conf.d/02-mpich.conf:ro+nofail`,
        '/usr/lib64/libcuda*::ro+nofail',
      ])
      assert.equal(
        mpich?.env.map(({ action, name, value }) => `${action} ${name}=${value}`),
        [
          'set LD_LIBRARY_PATH=/opt/udiImage/modules/mpich',
          'set NCCL_NET=AWS Libfabric',
          'keep FI_PROVIDER=',
        ],
      )
      assert.match(profiles.byName.get('bad')?.problems.join() ?? '', /bad\.yaml: frob: unknown field/)
      assert.match(profiles.byName.get('args')?.problems.join() ?? '', /"--volume=x" is podman's own/)
      assert.ok(profiles.variables.has('ENABLE_MPICH_SS') && profiles.variables.has('FI_PROVIDER'))
    },
  )
})

test('damaged files of a site end in mistakes, never otherwise', () => {
  let seed = 7
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return seed % below
  }
  const damage = (text: string): string => {
    const bytes = Buffer.from(text)
    for (let hits = 1 + random(5); hits > 0; hits--)
      bytes[random(bytes.length)] = ' [];=,"\'{}$:*\\\n\0#-'.charCodeAt(random(17))
    return bytes.toString('utf8')
  }
  for (let round = 0; round < 80; round++) {
    withFiles(
      [{ 'berth.conf': damage(SITE) }, { 'm.yaml': damage(MODULE) }],
      ([directory = '', modules = '']) => {
        const site = loadSite({ config: join(directory, 'berth.conf'), podman_hpc_modules: modules })
        assert.ok(checkProfiles(site.profiles).every((line) => line !== ''))
      },
    )
  }
})

test.run()
