// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict'
import { planPmi } from '../../src/plan/pmi.js'
import { suite } from '../suite.js'
import { type Given, planInput } from './plan_input.js'

const test = suite("Slurm's process managers in a plan")
const strange = /wants the user's own number/

function told(given: Given): { warned: boolean; noted: boolean } {
  const environment = { PMIX_SECURITY_MODE: 'munge,native', ...given.environment }
  const { warnings = [], notes = [] } = planPmi(planInput({ ...given, environment }))
  return { warned: warnings.some((one) => strange.test(one)), noted: notes.some((one) => strange.test(one)) }
}

test('root under PMIx: a warning to who gave the flag, else a note', () => {
  assert.deepEqual(told({ options: ['container-remap-root=1'] }), { warned: true, noted: true })
  for (const name of ['BERTH_CONTAINER_REMAP_ROOT', 'PYXIS_CONTAINER_REMAP_ROOT'])
    assert.deepEqual(told({ environment: { [name]: '1' } }), { warned: false, noted: true })
  assert.deepEqual(told({ site: 'container_remap_root = yes' }), { warned: false, noted: true })
  assert.deepEqual(told({}), { warned: false, noted: false })
  const other = { options: ['container-remap-root=1'], environment: { PMIX_SECURITY_MODE: 'munge' } }
  assert.deepEqual(told(other), { warned: false, noted: false })
})

function plan(server: string, releases: string[], environment: Record<string, string> = {}) {
  const pmix = releases.map((release) => ({ path: '/usr/lib/libpmix.so.2', release }))
  const host = server === '' ? {} : { PMIX_VERSION: server }
  const { warnings = [], notes = [] } = planPmi(
    planInput({ facts: { pmix }, environment: { ...host, ...environment } }),
  )
  return { warnings, notes }
}

test('releases that do not understand each other are named, with the way out', () => {
  assert.deepEqual(plan('4.2.2', ['2.0.3']).warnings, [
    "the image has PMIx 2.0.3, Slurm's is 4.2.2: these do not understand each other; use --mpi=pmi2 or an image with PMIx 2.1 or later",
  ])
  assert.match(plan('2.0.3', ['4.2.2']).warnings.join(), /has PMIx 4\.2\.2, Slurm's is 2\.0\.3/)
  assert.match(plan('3.2.4', ['1.2.5']).warnings.join(), /has PMIx 1\.2\.5, Slurm's is 3\.2\.4/)
})

test('from 2.1 on all do, older ones those of their own major; who cannot be told is not warned', () => {
  for (const [server, ...releases] of [
    ['4.2.2', '2.1'],
    ['4.2.2', '2.1.4'],
    ['2.1.0', '6.0.0'],
    ['2.1.4', '2.0.3'],
    ['4.2.2', '2.0.3', '4.2.2'],
    ['4.2.2', ''],
    ['4.2.2'],
    ['', '2.0.3'],
  ] as const)
    assert.deepEqual(plan(server, releases).warnings, [], `${server} and ${releases.join()}`)
})

test('an MPICH without PMIx in a step of PMIx is told of', () => {
  const mpi = (family: 'mpich' | 'openmpi') => ({
    ...{ family, major: 12, libraries: [], functions: [], wants: [], users: { count: 0, example: '' } },
    runtimes: [],
  })
  const notes = (facts: Given['facts'], environment: Record<string, string> = { PMIX_VERSION: '4.2.2' }) =>
    (planPmi(planInput({ facts: { pmix: [], ...facts }, environment })).notes ?? []).join('\n')
  assert.match(notes({ mpi: [mpi('mpich')] }), /built without PMIx.*rank 0 of 1: use --mpi=pmi2/)
  const pmix = [{ path: '/usr/lib/libpmix.so.2', release: '5.0.1' }]
  for (const facts of [{ mpi: [mpi('mpich')], pmix }, { mpi: [mpi('mpich'), mpi('openmpi')] }, { mpi: [] }])
    assert.doesNotMatch(notes(facts), /rank 0 of 1/)
  assert.doesNotMatch(notes({ mpi: [mpi('mpich')] }, {}), /rank 0 of 1/)
})

test('a host that Slurm knows by another name is told of, without the domain', () => {
  const seen = (host: string, node: string) =>
    plan('4.2.2', ['4.2.2'], { PMIX_HOSTNAME: host, SLURMD_NODENAME: node }).notes.slice(1)
  assert.match(seen('c1', 'node7').join(), /^pmix: this host is called c1, and node7 by Slurm: Open MPI 5/)
  assert.deepEqual(seen('node7.site.example', 'node7'), [])
  assert.deepEqual(plan('4.2.2', ['4.2.2'], { PMIX_HOSTNAME: 'c1' }).notes, [
    "pmix: Slurm's server is 4.2.2, the image has PMIx 4.2.2 (/usr/lib/libpmix.so.2)",
  ])
  assert.deepEqual(plan('', ['4.2.2'], { PMIX_HOSTNAME: 'c1', SLURMD_NODENAME: 'node7' }).notes, [])
})

test.run()
