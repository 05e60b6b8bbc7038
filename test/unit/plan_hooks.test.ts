// SPDX-License-Identifier: Apache-2.0
/** OCI hooks in a plan: whom they are for, which the site lets run, and what is said of the others. */
import * as assert from 'uvu/assert'
import type { AcceleratorFacts, HookFile } from '../../src/plan/accelerators.js'
import { explainPlan } from '../../src/plan/explain.js'
import { planStep } from '../../src/plan/plan.js'
import type { Plan } from '../../src/plan/spec.js'
import { BerthError } from '../../src/report/errors.js'
import { suite } from '../suite.js'
import { hostWith } from './cdi_samples.js'
import { type Given, planInput } from './plan_input.js'

const test = suite('hooks in a plan')
const PROFILE = '[profile p]\nhooks = /hooks\n'
const DIGEST = `sha256:${'a'.repeat(64)}`

function hook(when: object, more: Partial<HookFile> = {}): HookFile {
  return {
    file: '/hooks/a.json',
    ...{ path: '/opt/hook', args: ['hook', 'go'], env: ['A=b'], timeout: 7, stages: ['createContainer'] },
    when: { annotations: {}, commands: [], ...when },
    ...more,
  }
}

function plan(given: Given, accelerators: AcceleratorFacts, engine = 'native'): Plan {
  return planStep({ ...planInput(given), engine, host: { machine: 'x86_64', accelerators } })
}

function withHook(one: HookFile, given: Given = {}, engine?: string): Plan {
  const options = ['container-profile=p', ...(given.options ?? [])]
  const facts = { ...hostWith({}), hooks: new Map([['/hooks', [one]]]) }
  return plan({ ...given, site: `${given.site ?? ''}\n${PROFILE}`, options }, facts, engine)
}

function refusal(work: () => Plan): string {
  try {
    work()
  } catch (error) {
    if (error instanceof BerthError) return `${error.code} ${error.message}`
    throw error
  }
  return ''
}

const run = (when: object, given?: Given) => refusal(() => withHook(hook(when), given))

test('conditions of a hook file: all that are given, and a hook that would run is refused by name', () => {
  assert.match(
    run({ always: true }),
    /a\.json: createContainer hook \/opt\/hook go is not run \(cdi_hooks.*: hooks_allow does not name it/,
  )
  assert.is(run({}), '')
  const mpi = { annotations: { '^com\\.site\\.mpi$': 'true' } }
  assert.is(run(mpi), '')
  assert.match(run(mpi, { config: { labels: { 'com.site.mpi': 'true' } } }), /is not run/)
  assert.match(run({ hasBindMounts: true }, { options: ['container-mounts=/data'] }), /is not run/)
  const both = { ...mpi, always: true }
  assert.is(run(both), '', 'one of two conditions does not hold')
  const file = { image: 'x', mounts: [], devices: [], env: {}, annotations: { 'com.site.mpi': 'true' } }
  const edf = JSON.stringify({ version: 1, name: 'e', file: '/e.toml', ...file })
  assert.match(run(both, { environment: { SLURM_BERTH_EDF: edf } }), /is not run/)
  assert.is(run({ always: true }, { site: 'cdi_hooks = ignore' }), '')
  const broken = { ...hook({}), problem: 'version: should be 1.0.0' }
  assert.match(
    refusal(() => withHook(broken)),
    /version: should be 1.0.0/,
  )
})

test('what hooks_allow names is planned: by path, by digest, by directory', () => {
  const planned = (allow: string, path = '/opt/hook') =>
    withHook(hook({ always: true }, { path }), { site: `hooks_allow = ${allow}\ncdi_hooks = ignore` }).hooks
  assert.equal(planned('/opt/hook'), [
    {
      ...{ stage: 'createContainer', path: '/opt/hook', args: ['go'], env: ['A=b'], seconds: 7, digest: '' },
      ...{ reason: 'profile p: /hooks/a.json', origin: 'flag --container-profile' },
    },
  ])
  assert.is(planned(`/usr/x,/opt/hook=${DIGEST}`)[0]?.digest, DIGEST)
  assert.is(planned('/opt/').length, 1)
  for (const allow of ['/op/', '/opt', '/', '/opt/hook/', '/opt/hook=sha256:12', '/opt/hooks'])
    assert.is(planned(allow).length, 0, allow)
  assert.is(planned('/opt/', '/opt/../etc/hook').length, 0)
  assert.is(planned('/opt/', '/opt/sub/hook').length, 0)
})

test('a hook without a moment, of the image with a digest, or for another engine is refused with the reason', () => {
  const site = `hooks_allow = /opt/hook=${DIGEST},/opt/`
  const of = (stage: string, engine?: string) =>
    refusal(() => withHook(hook({ always: true }, { stages: [stage] }), { site }, engine))
  assert.match(of('later'), /no moment of the name later/)
  assert.match(of('startContainer'), /cannot be held against a digest/)
  assert.match(of('createRuntime', 'podman'), /engine podman runs its own hooks only/)
  for (const stage of ['createRuntime', 'poststart', 'poststop']) assert.is(of(stage), '')
  const long = withHook(hook({ always: true }, { timeout: 86_400 }), { site: 'hooks_allow = /opt/' })
  assert.is(long.hooks[0]?.seconds, 300)
})

test('a CDI device brings its own hooks, and the explained plan shows them with their reasons', () => {
  const hooks = [{ hookName: 'createRuntime', path: '/opt/vendor', args: ['vendor', 'on'], env: ['X=1'] }]
  const spec = { cdiVersion: '0.5.0', kind: 'a.b/c', devices: [{ name: 'x', containerEdits: { hooks } }] }
  const facts = hostWith({ 'x.json': JSON.stringify(spec) })
  const given = { options: ['container-device=a.b/c=x'], site: 'hooks_allow = /opt/vendor' }
  const shown = JSON.parse(explainPlan(plan(given, facts)))
  assert.equal(shown.hooks, {
    createRuntime: [{ path: '/opt/vendor', args: ['/opt/vendor', 'on'], env: ['X=1'], timeout: 30 }],
  })
  assert.match(shown.berth.hooks[0].reason, /device: a\.b\/c=x of .*x\.json/)
})

test.run()
