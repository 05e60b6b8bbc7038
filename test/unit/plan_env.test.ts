// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { planEnvironment } from '../../src/plan/env.js'
import type { PlannedVariable } from '../../src/plan/spec.js'
import { suite } from '../suite.js'
import { type Given, planInput } from './plan_input.js'

const test = suite('environment of a plan')

function plan(given: Given): Map<string, PlannedVariable> {
  const variables = planEnvironment(planInput(given))
  const map = new Map(variables.map((variable) => [variable.name, variable]))
  assert.equal(map.size, variables.length, 'one entry a name')
  return map
}

/** What every task has. */
const LOGIN = { HOME: '/home/ada', USER: 'ada', LOGNAME: 'ada', SHELL: '/bin/bash', TERM: 'dumb' }

/** What a task with these variables would see, by the launcher's three rules. */
function everything(given: Given, host: Record<string, string>): Record<string, string> {
  const seen = new Map(Object.entries(host))
  for (const { name, action, value } of plan({ ...given, environment: host }).values()) {
    if (action === 'unset') seen.delete(name)
    else if (action === 'set' || !seen.has(name)) seen.set(name, value ?? '')
  }
  return Object.fromEntries(seen)
}

/** Without what a login gives, where it is as a login gives it. */
function inside(given: Given, host: Record<string, string>): Record<string, string> {
  const entries = Object.entries(everything(given, host))
  return Object.fromEntries(
    entries.filter(
      ([name, value]) => host[name] !== undefined || LOGIN[name as keyof typeof LOGIN] !== value,
    ),
  )
}

const cuda = { config: { env: ['PATH=/bin', 'CUDA_VERSION=12.4', 'EMPTY=', 'A=b=c'] } }

test('the image wins over the host, and what only the host has stays', () => {
  const seen = inside(cuda, { CUDA_VERSION: '11', FOO: 'bar', PATH: '/opt/slurm/bin' })
  assert.deepEqual(seen, { CUDA_VERSION: '12.4', FOO: 'bar', PATH: '/bin', EMPTY: '', A: 'b=c' })
})

test('--container-env: the host wins where it has the variable, else the image', () => {
  const given = { ...cuda, options: ['container-env=FOO,CUDA_VERSION'] }
  assert.equal(inside(given, { CUDA_VERSION: '11' }).CUDA_VERSION, '11')
  assert.equal(inside(given, {}).CUDA_VERSION, '12.4')
  assert.equal(plan(given).get('CUDA_VERSION')?.origin, 'flag --container-env')
})

test('HOME is where the home is mounted, whatever the image says', () => {
  const given = { config: { env: ['PATH=/bin', 'HOME=/config'] } }
  const mounted = { ...given, options: ['container-mount-home=1'] }
  assert.equal(everything(mounted, { HOME: '/home/ada' }).HOME, '/home/ada')
  assert.equal(everything(mounted, {}).HOME, '/home/ada')
  assert.equal(everything(mounted, { HOME: '/scratch/ada' }).HOME, '/scratch/ada')
  assert.equal(plan(mounted).get('HOME')?.origin, 'flag --container-mount-home')
  assert.equal(inside(given, { HOME: '/home/ada' }).HOME, '/config')
  const root = { ...given, options: ['container-mount-home=1', 'container-remap-root=1'] }
  assert.equal(inside(root, { HOME: '/home/ada' }).HOME, '/root')
})

test('a task that comes with nothing finds what a login would set', () => {
  const given = { config: { env: ['PATH=/bin'] } }
  assert.deepEqual(everything(given, {}), { PATH: '/bin', ...LOGIN })
  const host = { HOME: '/h', USER: 'u', LOGNAME: 'l', SHELL: '/bin/zsh', TERM: 'xterm' }
  assert.deepEqual(everything(given, host), { PATH: '/bin', ...host })
  const own = { config: { env: ['PATH=/bin', 'HOME=/config', 'SHELL=/bin/zsh', 'TERM=linux'] } }
  assert.deepEqual(everything(own, {}), { PATH: '/bin', ...LOGIN, HOME: '/config', SHELL: '/bin/zsh' })
  const passwd = 'root:x:0:0:root:/root:/bin/ash\n'
  const root = { ...given, image: { passwd }, options: ['container-remap-root=1'] }
  assert.deepEqual(everything(root, {}), {
    ...{ PATH: '/bin', ...LOGIN },
    ...{ HOME: '/root', USER: 'root', SHELL: '/bin/ash' },
  })
  assert.equal(everything({ ...given, site: 'env_deny = USER' }, {}).USER, undefined)
})

test("the host's locale stays outside unless named", () => {
  const host = { LANG: 'en_US.UTF-8', LC_ALL: 'C', LANGUAGE: 'en' }
  assert.deepEqual(Object.keys(inside({ config: { env: ['PATH=/bin'] } }, host)), ['PATH'])
  assert.equal(inside({ options: ['container-env=LANG'] }, host).LANG, 'en_US.UTF-8')
  assert.equal(inside({ config: { env: ['LANG=C.UTF-8'] } }, host).LANG, 'C.UTF-8')
})

test('what decides the rank never comes from an image', () => {
  const env = [
    'PMI_RANK=7',
    'PMI_FD=9',
    'PMIX_RANK=7',
    'PMIX_SERVER_URI2=x',
    'SLURM_PROCID=7',
    'SLURM_LOCALID=7',
  ]
  const seen = inside({ config: { env: ['PATH=/bin', ...env] } }, { SLURM_PROCID: '1', PMI_RANK: '1' })
  assert.deepEqual(seen, { SLURM_PROCID: '1', PMI_RANK: '1', PATH: '/bin' })
})

test("TERM is the terminal's", () => {
  assert.equal(inside({ config: { env: ['TERM=xterm'] } }, { TERM: 'dumb' }).TERM, 'dumb')
})

test('an image without PATH gets the usual one', () => {
  const seen = inside({ config: { env: [] } }, { PATH: '/opt/slurm/bin' })
  assert.equal(seen.PATH, '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin')
  assert.equal(inside({ cold: true }, { PATH: '/opt/slurm/bin' }).PATH, '/opt/slurm/bin')
})

test('PMIx clients are told the modules of the server, unless the user chose', () => {
  const host = { PMIX_SECURITY_MODE: 'munge,native', PMIX_GDS_MODULE: 'ds21,hash' }
  const seen = inside({}, host)
  assert.equal(seen.PMIX_MCA_psec, 'munge,native')
  assert.equal(seen.PMIX_MCA_gds, 'ds21,hash')
  assert.equal(inside({}, { ...host, PMIX_MCA_psec: 'none' }).PMIX_MCA_psec, 'none')
  assert.equal(inside({ config: { env: ['PMIX_MCA_psec=x'] } }, host).PMIX_MCA_psec, 'munge,native')
})

test('remapped to root, home is /root', () => {
  assert.equal(inside({ options: ['container-remap-root=1'] }, { HOME: '/home/ada' }).HOME, '/root')
  assert.equal(inside({}, { HOME: '/home/ada' }).HOME, '/home/ada')
})

test('the site sets and hides variables, and is named for it', () => {
  const given = { site: 'env_set = SITE=a=b\nenv_deny = SECRET', config: { env: ['SITE=image'] } }
  const seen = inside(given, { SECRET: 'x' })
  assert.equal(seen.SITE, 'a=b')
  assert.equal('SECRET' in seen, false)
  assert.equal(plan(given).get('SECRET')?.origin, 'berth.conf:2')
})

test.run()
