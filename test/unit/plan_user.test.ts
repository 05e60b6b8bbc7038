// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import type { PlanUser } from '../../src/plan/input.js'
import { planStep } from '../../src/plan/plan.js'
import { planGroup, planPasswd } from '../../src/plan/user.js'
import { suite } from '../suite.js'
import { type Given, planInput } from './plan_input.js'

const test = suite('user and place of a plan')

const ada: PlanUser = {
  name: 'ada',
  uid: 2041,
  gid: 2000,
  home: '/home/ada',
  groups: [{ gid: 2000, name: 'lab' }, { gid: 3000, name: 'gpu' }, { gid: 4000 }],
}
const PASSWD =
  'root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/x:/bin/zsh\n_apt:x:42:65534::/n:/bin/false'

test("the user's line stands before the image's, with a shell that the image has", () => {
  assert.equal(
    planPasswd(ada, PASSWD, false),
    [
      'ada:*:2041:2000:ada:/home/ada:/bin/bash',
      'root:x:0:0:root:/root:/bin/bash',
      '_apt:x:42:65534::/n:/bin/false',
      'nobody:x:65534:65534:nobody:/:/sbin/nologin',
      '',
    ].join('\n'),
  )
})

test('an image without accounts still has root and nobody', () => {
  assert.match(
    planPasswd(ada, '', false),
    /^ada:\*:2041:2000:ada:\/home\/ada:\/bin\/sh\nroot:x:0:0:.*\nnobody:/,
  )
})

test('as root: one account of number 0, and apt keeps to it', () => {
  const passwd = planPasswd(ada, PASSWD, true)
  assert.match(passwd, /^root:x:0:0:root:\/root:\/bin\/bash\n/)
  assert.doesNotMatch(passwd, /_apt|2041/)
  assert.equal(passwd.match(/^root:/gm)?.length, 1)
  assert.match(planGroup(ada, 'root:x:0:\nadm:x:4:', true), /^root:x:0:\nadm:x:4:\n/)
})

test('every group has a name: the host, the image, or its number', () => {
  const lines = planGroup(ada, 'root:x:0:\nrender:x:4000:\ngpu:x:99:', false).split('\n')
  assert.deepEqual(lines, [
    'lab:x:2000:',
    'gpu:x:3000:ada',
    'render:x:4000:ada',
    'root:x:0:',
    'nogroup:x:65534:',
    '',
  ])
  assert.match(planGroup(ada, '', false), /^gid4000:x:4000:ada$/m)
})

test('no field can start an account of its own', () => {
  const evil = { ...ada, name: 'x\nevil:x:0:0:', home: '/h:/bin/evil' }
  assert.match(
    planPasswd(evil, '', false),
    /^x_evil_x_0_0_:\*:2041:2000:x_evil_x_0_0_:\/h_\/bin\/evil:\/bin\/sh\n/,
  )
})

function cwd(given: Given): string {
  return planStep(planInput(given)).process.cwd
}

test('the working directory: asked for, else the image, else the root', () => {
  assert.equal(
    cwd({ options: ['container-workdir=/usr/local/bin'], config: { workdir: '/w' } }),
    '/usr/local/bin',
  )
  assert.equal(cwd({ options: ['container-workdir=../'] }), '/')
  assert.equal(cwd({ options: ['container-workdir=/a/../../b/'] }), '/b')
  assert.equal(cwd({ config: { workdir: '/workspace' } }), '/workspace')
  assert.equal(cwd({ config: { workdir: 'app' } }), '/app')
  assert.equal(cwd({}), '/')
  assert.equal(cwd({ options: ['container-mount-cwd=1'], config: { workdir: '/w' } }), '/work/run')
})

test('ids: the user and all groups, or root with the same rights', () => {
  assert.deepEqual(planStep(planInput()).process.user, {
    uid: 2041,
    gid: 2000,
    additionalGids: [3000],
    insideUid: 2041,
    insideGid: 2000,
  })
  const root = planStep(planInput({ options: ['container-remap-root=1'] })).process.user
  assert.deepEqual([root.uid, root.insideUid, root.insideGid], [2041, 0, 0])
})

test('the root: read-only unless user or site say otherwise', () => {
  const root = (given: Given) => planStep(planInput(given)).root
  assert.equal(root({}).readonly, true)
  assert.equal(root({}).origin, 'default')
  assert.equal(root({ options: ['container-writable=4G'] }).writableSize, '4G')
  const disk = { site: 'container_writable_on = disk', options: ['container-writable=1'] }
  assert.equal(root(disk).reason, 'writes go to disk and end with the step')
  assert.equal(root(disk).writableSize, String(10 * 2 ** 30))
  assert.equal(root({ ...disk, options: ['container-writable=memory'] }).writableSize, '50%')
  assert.equal(root({ options: ['container-writable=1'] }).readonly, false)
  const site = 'container_writable = yes\ncontainer_writable_size = 2G'
  assert.deepEqual(
    [root({ site }).readonly, root({ site }).writableSize, root({ site }).origin],
    [false, '2147483648', 'berth.conf:1'],
  )
  assert.equal(root({ site, options: ['container-readonly=1'] }).readonly, true)
})

test('the entrypoint runs only when asked for', () => {
  const config = { entrypoint: ['/entry.sh'] }
  assert.deepEqual(planStep(planInput({ config })).process.args, [])
  assert.deepEqual(planStep(planInput({ config, options: ['container-entrypoint=1'] })).process.args, [
    '/entry.sh',
  ])
})

test('namespaces of its own are planned by their OCI names', () => {
  const plan = planStep(planInput({ options: ['container-unshare=net,uts'] }))
  assert.deepEqual(
    plan.namespaces.map(({ type }) => type),
    ['user', 'mount', 'network', 'uts'],
  )
})

test.run()
