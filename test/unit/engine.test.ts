// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { crunEngine } from '../../src/engine/crun.js'
import type { Engine } from '../../src/engine/engine.js'
import { ENGINES } from '../../src/engine/engines.js'
import { nativeEngine } from '../../src/engine/native.js'
import { pickEngine, pickInstalled } from '../../src/engine/select.js'
import { translate } from '../../src/engine/translate.js'
import { isOlder } from '../../src/engine/version.js'
import { recipeOf } from '../../src/launch/engine_place.js'
import { Undo } from '../../src/launch/undo.js'
import { planStep } from '../../src/plan/plan.js'
import { suite } from '../suite.js'
import { type Given, planInput } from './plan_input.js'
import { refuses } from './request_refusals.js'

const test = suite('engines')

/** Can do all that native cannot. */
const strong: Engine = {
  ...nativeEngine,
  name: 'strong',
  abilities: { ...nativeEngine.abilities, unsharePid: true, remapRoot: true, engineArgs: true },
}

/** Native without pid namespaces. */
const shared: Engine = { ...nativeEngine, abilities: { ...nativeEngine.abilities, unsharePid: false } }

/** Can do less. */
const weak: Engine = {
  ...nativeEngine,
  abilities: { ...nativeEngine.abilities, remapRoot: false, entrypoint: false },
}

function pick(given: Given, engines: readonly Engine[] = ENGINES): string {
  const { request, site } = planInput(given)
  return pickEngine(request, site, { engines }).name
}

test('the site chooses when the user does not', () => {
  assert.equal(pick({}), 'native')
  assert.equal(pick({ site: 'engine = strong' }, [nativeEngine, strong]), 'strong')
  assert.equal(
    pick({ site: 'engine = strong', options: ['container-engine=native'] }, [nativeEngine, strong]),
    'native',
  )
})

test('an unknown engine is refused, naming those there are', () => {
  const mistyped = { options: ['container-engine=dokcer'] }
  refuses(() => pick(mistyped), 'BERTH_EENGINE', 'unknown engine dokcer')
  assert.throws(
    () => pick(mistyped),
    (error: { hint?: string }) => /native, crun, .*; not offered here: docker$/.test(error.hint ?? ''),
  )
})

test('a flag that an engine cannot serve is refused, naming the flag and who can', () => {
  const given = { options: ['container-unshare=pid'] }
  refuses(() => pick(given, [shared]), 'BERTH_EABILITY', 'engine native cannot do --container-unshare=pid')
  assert.throws(
    () => pick(given, [shared, strong]),
    (error: { hint?: string }) => error.hint === 'engines that can: strong',
  )
  assert.throws(
    () => pick(given, [shared]),
    (error: { hint?: string }) => error.hint === 'engines that can: none here',
  )
})

test('saying no to what an engine cannot do is fine', () => {
  const options = ['no-container-remap-root=1', 'no-container-entrypoint=1']
  assert.equal(pick({ options }, [weak]), 'native')
})

test("a site's default that an engine cannot serve names the line", () => {
  const site = 'container_remap_root = yes'
  refuses(() => pick({ site }, [weak]), 'BERTH_EABILITY', 'container_remap_root (berth.conf:1)')
  assert.equal(pick({ site, options: ['no-container-remap-root=1'] }, [weak]), 'native')
})

test('auto takes the first that can', () => {
  const options = ['container-engine=auto']
  assert.equal(pick({ options }, [shared, strong]), 'native')
  assert.equal(pick({ options: [...options, 'container-unshare=pid'] }, [shared, strong]), 'strong')
  refuses(
    () => pick({ options: [...options, 'container-remap-root=1'] }, [weak]),
    'BERTH_EABILITY',
    'container-remap-root',
  )
})

test('the site may offer fewer engines, and no words for them', () => {
  const site = 'engines = native'
  const options = ['container-engine=strong']
  refuses(
    () => pick({ site, options }, [nativeEngine, strong]),
    'BERTH_EPOLICY',
    'engine strong is not allowed',
  )
  const words = { options: ['container-engine=strong', 'container-engine-args=--x'] }
  refuses(() => pick(words, [strong]), 'BERTH_EPOLICY', '--container-engine-args is not allowed')
  assert.equal(pick({ ...words, site: 'engine_args = allow' }, [strong]), 'strong')
})

test('the plan becomes a namespace to build, without its reasons', () => {
  const plan = planStep(planInput({ options: ['container-mounts=/a:/b:ro', 'container-writable=1G'] }))
  const { namespaces } = translate(plan, {
    image: { device: '/dev/loop7' },
    staging: '/run/berth/staging',
    idmap: true,
    mountNs: 9,
  })
  const { mounts, ...rest } = namespaces
  assert.deepEqual(rest, {
    image: { device: '/dev/loop7' },
    readonly: false,
    upperSize: '1G',
    uid: 2041,
    gid: 2000,
    gids: [3000],
    insideUid: 2041,
    insideGid: 2000,
    idmap: true,
    unshare: [],
    mountNs: 9,
    staging: '/run/berth/staging',
  })
  assert.equal(mounts.length, plan.mounts.length)
  assert.ok(mounts.every((mount) => !('reason' in mount) && !('origin' in mount)))
})

test('an engine that was started early fits whatever only the mounts tell apart', () => {
  const recipe = (options: string[], place: { mountNs?: number } = {}): string => {
    const plan = planStep(planInput({ options }))
    const where = { image: { device: '/dev/loop7' }, staging: '/s', idmap: true, ...place }
    const { start } = crunEngine
    if (start === undefined) throw new Error('crun is started')
    const wish = {
      ...{ engine: crunEngine, start, binary: '/usr/bin/crun', version: '1.8', plan, args: [] },
      ...{ user: planInput().user, path: '/bin', socket: '', label: 'berth-1-0' },
    }
    return recipeOf(wish, translate(plan, where).namespaces)
  }
  assert.equal(recipe(['container-mounts=/a:/b']), recipe([]))
  assert.notEqual(recipe([], { mountNs: 9 }), recipe([]), 'the job has mounts of its own')
  assert.notEqual(recipe(['container-writable=1G']), recipe([]))
  assert.notEqual(recipe(['container-remap-root']), recipe([]))
})

test('a part of what a step has taken is given back once, by itself or with the rest', async () => {
  const told: string[] = []
  const undo = new Undo(() => undefined)
  for (const name of ['first', 'second']) undo.part(name).add(name, () => void told.push(`end of ${name}`))
  const third = undo.part('third')
  third.add('third', () => void told.push('end of third'))
  await third.run()
  await undo.run()
  assert.deepEqual(told, ['end of third', 'end of second', 'end of first'])
})

test('the launcher is told where to start and how to edit the environment', () => {
  const plan = planStep(
    planInput({
      options: ['container-env=B', 'container-workdir=/w'],
      config: { env: ['PATH=/bin', 'A=1', 'B=2'] },
    }),
  )
  const { launch } = translate(plan, { image: { directory: '/d' }, staging: '/s', idmap: false })
  assert.deepEqual(launch, {
    cwd: '/w',
    set: ['PATH=/bin', 'A=1'],
    defaults: ['HOME=/home/ada', 'USER=ada', 'LOGNAME=ada', 'SHELL=/bin/bash', 'TERM=dumb', 'B=2'],
    unset: ['LANG', 'LANGUAGE', 'LC_ALL'],
    copies: [],
    argv: [],
    fakeRoot: true,
    noNewPrivileges: true,
    bare: false,
  })
})

test("an entrypoint is told what it may see of the task's environment", () => {
  const plan = planStep(
    planInput({
      options: ['container-env=B', 'container-entrypoint=1', 'container-entrypoint-log=1'],
      config: { env: ['PATH=/bin', 'B=2'], entrypoint: ['/entry', '-x'] },
    }),
  )
  const { launch } = translate(plan, { image: { directory: '/d' }, staging: '/s', idmap: false })
  assert.deepEqual(launch.argv, [])
  assert.deepEqual(launch.entrypoint?.argv, ['/entry', '-x'])
  assert.deepEqual(launch.entrypoint?.keeps, ['B'])
  assert.equal(launch.entrypoint?.log, true)
  assert.ok(launch.entrypoint?.sees.includes('SLURM_*'))
})

test('a partition of the site may have an engine of its own', () => {
  const { request, site } = planInput({ site: 'engine_partitions = gpu=strong, debug=weak' })
  const engines = [nativeEngine, strong]
  assert.equal(pickEngine(request, site, { engines, partition: 'gpu' }).name, 'strong')
  assert.equal(pickEngine(request, site, { engines, partition: 'cpu' }).name, 'native')
})

test('on the node: auto passes by what is missing, a name says how to install it', async () => {
  const engines = [{ ...strong, needs: { ...strong.needs, install: 'apt install strong' } }, nativeEngine]
  const find = async ({ name }: Engine) =>
    name === 'strong' ? { problem: 'no strong in /usr/bin' } : { binary: '', version: '6.1' }
  const auto = planInput({ options: ['container-engine=auto'] })
  const picked = await pickInstalled(auto.request, auto.site, find, { engines })
  assert.equal(picked.engine.name, 'native')
  assert.match(picked.why.reason, /^auto: .*, passed by: strong \(/)
  const named = planInput({ options: ['container-engine=strong'] })
  await assert.rejects(pickInstalled(named.request, named.site, find, { engines }), (error: Error) => {
    assert.match(error.message, /engine strong is not on this node: no strong in \/usr\/bin/)
    assert.match((error as Error & { hint: string }).hint, /^apt install strong/)
    return true
  })
})

test('versions are compared by number', () => {
  assert.ok(isOlder('1.8', '1.10'))
  assert.ok(!isOlder('1.10.1-dev', '1.10'))
  assert.ok(!isOlder('5.8.6', '4.3'))
})

test('every engine of the host says how it is installed, and has a page', () => {
  for (const engine of ENGINES.filter(({ start }) => start !== undefined)) {
    const { binary, install, versionMin, versionWords } = engine.needs
    assert.ok(binary && install, engine.name)
    // shifter has no word for its version.
    assert.ok(versionMin ?? versionWords?.includes('--help'), engine.name)
  }
})

test.run()
