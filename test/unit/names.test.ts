// SPDX-License-Identifier: Apache-2.0
/** Named containers without a node: their place on disk, the names of pyxis. */
import { deepEqual, equal, throws } from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mountOption } from '../../src/cli/enroot_mount.js'
import { findListed, listed, nameOnDisk, pyxisName, unnamedStep } from '../../src/cli/enroot_names.js'
import { formatStepName, parseStepName, type StepId } from '../../src/request/step_name.js'
import { Containers, keyOf } from '../../src/store/containers.js'
import { suite } from '../suite.js'

const test = suite('names')
const folder = mkdtempSync(join(tmpdir(), 'berth-names-'))
test.after(() => rmSync(folder, { recursive: true, force: true }))

const ID = { uid: 1000, scope: 'global', name: 'tools' }
const FACTS = { creator: 'ab', image: { key: 'sha256-1-f1', reference: 'docker.io/library/x:1' } }

/** Of trees that nobody else knows; test/native/host/remove_tree.test.ts has the others. */
const TREES = {
  removeTree: (path: string) => rm(path, { recursive: true }),
  treeSize: async (path: string) =>
    readdirSync(path).reduce((bytes, name) => bytes + statSync(join(path, name)).size, 0),
}

function newStore(name: string): string {
  const store = join(folder, name)
  mkdirSync(store)
  return store
}

test('a container is found again by the next worker, with its facts', () => {
  const store = newStore('again')
  const job = { processes: [{ pid: 7, start: 8 }], end: 9 }
  const made = new Containers(store, TREES).create(ID, { ...FACTS, job })
  deepEqual(new Containers(store, TREES).find(ID), made)
  equal(statSync(made.path).mode & 0o777, 0o700)
  equal(statSync(join(store, 'containers')).mode & 0o777, 0o700)
})

test('half of one never stays, and one that was taken away is not there', () => {
  const store = newStore('half')
  const before = new Containers(store, TREES)
  mkdirSync(join(store, 'containers/.new/abc'))
  const made = before.create(ID, FACTS)
  const after = new Containers(store, TREES)
  deepEqual(readdirSync(join(store, 'containers/.new')), [])
  rmSync(made.path, { recursive: true })
  equal(after.find(ID), undefined)
  equal(after.list().length, 0)
})

test('a second one of that name cannot be made', () => {
  const store = newStore('twice')
  const containers = new Containers(store, TREES)
  containers.create(ID, FACTS)
  throws(() => containers.create(ID, FACTS), /ENOTEMPTY|EEXIST/)
  deepEqual(readdirSync(join(store, 'containers/.new')), [])
})

test('buried, its name is free; its files go when that is asked', async () => {
  const store = newStore('buried')
  const containers = new Containers(store, TREES)
  const made = containers.create(ID, FACTS)
  mkdirSync(join(made.path, 'upper'))
  writeFileSync(join(made.path, 'upper/file'), Buffer.alloc(100_000))
  equal((await containers.size(made)) >= 100_000, true)
  const grave = containers.bury(made)
  equal(containers.find(ID), undefined)
  containers.create(ID, FACTS)
  await containers.discard(grave)
  deepEqual(readdirSync(join(store, 'containers/.trash')), [])
})

test('what cannot be removed ends nobody: it is told, and the rest of the trash goes', async () => {
  const store = newStore('stuck')
  const lines: string[] = []
  const stuck = (path: string) =>
    path.endsWith('a') ? Promise.reject(new Error(`ENAMETOOLONG ${path}`)) : TREES.removeTree(path)
  const containers = new Containers(store, { ...TREES, removeTree: stuck }, (line) => lines.push(line))
  const trash = join(store, 'containers/.trash')
  for (const name of ['a', 'b']) mkdirSync(join(trash, name))
  await containers.emptyTrash()
  deepEqual(readdirSync(trash), ['a'])
  deepEqual(lines, [`a removed container is still on disk: ENAMETOOLONG ${join(trash, 'a')}`])
})

test('what sits on an image is known by the image', () => {
  const containers = new Containers(newStore('on'), TREES)
  containers.create(ID, FACTS)
  deepEqual(containers.on('sha256-1-f1').map(keyOf), ['1000/global/tools'])
  deepEqual(containers.on('sha256-2-f1'), [])
})

test('a record that cannot be read hides its container and harms no other', () => {
  const store = newStore('broken')
  const containers = new Containers(store, TREES)
  const made = containers.create(ID, FACTS)
  containers.create({ ...ID, name: 'other' }, FACTS)
  writeFileSync(join(made.path, 'container.json'), '{"image":1}')
  deepEqual(
    new Containers(store, TREES).list().map(({ name }) => name),
    ['other'],
  )
})

test('a container that cannot be read does not keep its name for ever: its files stay, and it is told where', () => {
  const store = newStore('unreadable')
  const made = new Containers(store, TREES).create(ID, FACTS)
  writeFileSync(join(made.path, 'mine'), 'x')
  // As the power's end leaves a file that was new.
  writeFileSync(join(made.path, 'container.json'), '')
  const lines: string[] = []
  const containers = new Containers(store, TREES, (line) => lines.push(line))
  equal(containers.find(ID), undefined)
  containers.create(ID, FACTS)
  deepEqual(
    new Containers(store, TREES).list().map(({ name }) => name),
    ['tools'],
  )
  const [, aside = ''] =
    /^container tools of user 1000 has no readable record; its files are in (.+)$/.exec(lines[0] ?? '') ?? []
  deepEqual(readdirSync(aside).sort(), ['container.json', 'mine'])
})

test('a step is named as sacct does, or by the pid of its berth run', () => {
  const names: [string, StepId][] = [
    ['4711.0', { job: 4711, step: 0 }],
    ['4711.batch', { job: 4711, step: 0xfffffffb }],
    ['4711.interactive', { job: 4711, step: 0xfffffffa }],
    ['run.42', { job: 0, step: 42 }],
  ]
  for (const [name, id] of names) {
    deepEqual(parseStepName(name), id)
    equal(formatStepName(id), name)
  }
  deepEqual(parseStepName('4711.4294967291'), { job: 4711, step: 0xfffffffb })
  for (const text of [
    '',
    'tools',
    '4711',
    '4711.',
    '.0',
    '4711.extern',
    'run',
    'run.x',
    'step 4711.0',
    ' 4711.0',
  ])
    equal(parseStepName(text), undefined)
})

const row = (name: string, scope: string, pids: number[][] = []) => ({
  ...{ id: `1000/${scope}/${name}`, name, scope, uid: 1000, image: '', size: 0, created: 0 },
  running: pids.map((of) => ({ step: '1.0', pids: of })),
})
const running = (job: number, stepId: number, name: string, pids: number[]) => ({
  ...{ step: `${job}.${stepId}`, uid: 1000, job, stepId, name, image: 'x', engine: 'native' },
  ...{ state: 'running', pids, since: 0, id: '', owner: 1, cwd: '/' },
})

test('pyxis calls them pyxis_NAME, pyxis_JOBID_NAME and pyxis_JOBID.STEPID', () => {
  equal(pyxisName({ name: 'a', scope: 'global' }), 'pyxis_a')
  equal(pyxisName({ name: 'a', scope: 'job-12' }), 'pyxis_12_a')
  for (const name of ['a', 'pyxis_a']) equal(pyxisName({ name: nameOnDisk(name), scope: 'global' }), name)
  const rows = listed(
    [row('b', 'global', [[5, 6], [9]]), row('a', 'job-12')],
    [running(3, 1, '', [7, 8]), running(3, 2, 'b', [5, 6]), running(0, 0, '', [1])],
    1000,
  )
  deepEqual(rows, [
    { name: 'pyxis_12_a', pids: [] },
    { name: 'pyxis_3.1', pids: [7] },
    { name: 'pyxis_b', pids: [5, 9] },
  ])
  deepEqual(listed([row('b', 'global')], [], 1001), [])
})

test('and they are found by these names, or by their own', () => {
  const rows = [row('a', 'job-12'), row('a', 'global')]
  equal(findListed(rows, 'pyxis_12_a', 1000)?.scope, 'job-12')
  equal(findListed(rows, 'pyxis_a', 1000)?.scope, 'global')
  equal(findListed(rows, 'b', 1000), undefined)
  equal(findListed(rows, 'pyxis_a', 1001), undefined)
  equal(unnamedStep('pyxis_12_12.3'), '12.3')
  equal(unnamedStep('pyxis_12.3'), '12.3')
  equal(unnamedStep('pyxis_a'), undefined)
})

test("enroot's mount lines are entries of --container-mounts", () => {
  for (const [line, entry] of [
    ['/a', '/a:/a'],
    ['.:/work', '.:/work'],
    ['.:mnt', '.:/mnt'],
    ['/a,b:/c:none:rbind,ro', '/a\\,b:/c:rbind+ro'],
    ['/a:/b:ro,x-create=dir', '/a:/b:ro+x-create=dir'],
    ['tmpfs:/t:tmpfs:x-create=dir,rw,size=1M', 'tmpfs:/t:x-create=dir+rw+size=1M'],
  ] as const)
    equal(mountOption(line), entry)
})

test.run()
