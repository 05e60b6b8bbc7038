// SPDX-License-Identifier: Apache-2.0
/** When the node's Open MPI takes the place of an image's, and that all of it does. */
import assert from 'node:assert/strict'
import { FACTS_VERSION, type ImageFacts, type ImageMpi, type ImageMpiLibrary } from '../../src/image/facts.js'
import type { HostLibrary, HostMpi, HostMpiLibrary } from '../../src/plan/host.js'
import type { PlanInput } from '../../src/plan/input.js'
import { planMpi } from '../../src/plan/mpi.js'
import type { MpiKeptCode } from '../../src/plan/mpi_kept.js'
import { suite } from '../suite.js'
import { planInput } from './plan_input.js'

const test = suite('plan of Open MPI')
const X86_64 = 62
const LIB = '/usr/lib/x86_64-linux-gnu'

function own(soname: string, role: ImageMpiLibrary['role'] = 'core', folder = LIB): ImageMpiLibrary {
  return { role, path: `${folder}/${soname}.30.0`, soname, names: [soname], wants: [] }
}

const image: ImageMpi = {
  ...{ family: 'openmpi', major: 40, functions: ['MPI_Init'], wants: ['MPI_Init', 'ompi_mpi_comm_world'] },
  libraries: [
    own('libmpi.so.40', 'c'),
    own('libmpi_mpifh.so.40', 'other'),
    own('libopen-pal.so.40'),
    own('libmca_common_verbs.so.40'),
  ],
  users: { count: 1, example: '/opt/app' },
  runtimes: [],
}

const facts: ImageFacts = {
  ...{ version: FACTS_VERSION, mpi: [image], pmix: [], cache: [], truncated: false },
  libc: { kind: 'glibc', version: '2.36', path: `${LIB}/libc.so.6`, machine: X86_64 },
  libraries: { 'libpmix.so.2': `${LIB}/libpmix.so.2.9.0`, 'libhwloc.so.15': `${LIB}/libhwloc.so.15.99.0` },
}

function library(name: string, needed: string[] = []): HostLibrary {
  return { name, path: `/opt/ompi/lib/${name}.30.4`, soname: name, needed, glibc: '2.34', runtime: [] }
}

function part(name: string, needed: string[] = [], defines: string[] = []): HostMpiLibrary {
  return { ...library(name, needed), defines: new Set(defines) }
}

const host: HostMpi = {
  ...{ family: 'openmpi', major: 40, machine: X86_64, missing: [], origin: 'berth.conf:3', named: false },
  libraries: { c: part('libmpi.so.40', ['libopen-pal.so.40'], ['MPI_Init', 'ompi_mpi_comm_world']) },
  dependencies: new Map(
    ['libopen-pal.so.40', 'libmca_common_ucx.so.40', 'libpmix.so.2', 'libhwloc.so.15'].map((name) => [
      name,
      library(name),
    ]),
  ),
  open: {
    parts: new Map(
      ['libmpi_mpifh.so.40', 'libopen-pal.so.40', 'libmca_common_ucx.so.40'].map((name) => [
        name,
        part(name),
      ]),
    ),
    needed: ['libmca_common_ucx.so.40', 'libpmix.so.2', 'libhwloc.so.15'],
    glibc: '2.34',
    runtime: [],
    directories: ['/opt/ompi/lib/openmpi', '/opt/ompi/share/openmpi'],
  },
}

interface Case {
  options?: string[]
  mpi?: ImageMpi[]
  host?: Partial<HostMpi>
  /** In place of the usual one. */
  only?: HostMpi
  env?: string[]
  environment?: Record<string, string>
  libc?: Partial<ImageFacts['libc']>
}

function plan(given: Case = {}) {
  const input: PlanInput = planInput({ options: given.options ?? [] })
  const { stored } = input.image
  assert.ok(stored !== undefined)
  return planMpi({
    ...input,
    step: { ...input.step, environment: new Map(Object.entries(given.environment ?? {})) },
    image: {
      ...input.image,
      stored: { ...stored, config: { ...stored.config, env: given.env ?? [] } },
      facts: { ...facts, mpi: given.mpi ?? [image], libc: { ...facts.libc, ...given.libc } },
    },
    host: { machine: 'x86_64', mpi: [given.only ?? { ...host, ...given.host }] },
  })
}

const HOST = ['container-mpi=host']

test('the image’s own stays, unless the site names one or the user asks for it', () => {
  const { mounts = [], notes = [], kept = [] } = plan()
  assert.deepEqual(mounts, [])
  assert.deepEqual(
    kept.map(({ code }) => code),
    ['unnamed'],
  )
  assert.match(notes[0] ?? '', /is kept: .*mpi_host.*--container-mpi=host/)
  assert.notEqual(plan({ host: { named: true } }).mounts?.length, 0)
  assert.notEqual(plan({ options: HOST }).mounts?.length, 0)
})

test('bindings and layers are bound over the image’s, modules and texts at their own paths', () => {
  const { mounts = [], loader = [], notes = [] } = plan({ options: HOST })
  const binds = mounts.flatMap((mount) => (mount.kind === 'bind' ? [`${mount.source} ${mount.target}`] : []))
  assert.deepEqual(binds, [
    `/opt/ompi/lib/libmpi.so.40.30.4 ${LIB}/libmpi.so.40.30.0`,
    `/opt/ompi/lib/libmpi_mpifh.so.40.30.4 ${LIB}/libmpi_mpifh.so.40.30.0`,
    `/opt/ompi/lib/libopen-pal.so.40.30.4 ${LIB}/libopen-pal.so.40.30.0`,
    '/opt/ompi/lib /.berth/host/opt/ompi/lib',
    '/opt/ompi/lib/openmpi /opt/ompi/lib/openmpi',
    '/opt/ompi/share/openmpi /opt/ompi/share/openmpi',
  ])
  const led = loader.filter(({ path }) => path.startsWith('/.berth/host/')).map(({ name }) => name)
  // PMIx goes with Open MPI; of hwloc the image has a newer one, which serves both.
  assert.deepEqual(led.sort(), ['libmca_common_ucx.so.40', 'libpmix.so.2'])
  assert.match(notes[0] ?? '', /is replaced by .* with \/opt\/ompi\/lib\/openmpi .*libpmix\.so\.2$/)
})

test('where the image says that its modules are is forgotten, what the task says is not', () => {
  const env = ['OPAL_PREFIX=/opt/hpcx/ompi', 'PMIX_INSTALL_PREFIX=/opt/pmix', 'OMPI_MCA_pml=ucx']
  const { variables = [] } = plan({ options: HOST, env, environment: { OPAL_PREFIX: '/opt/ompi' } })
  assert.deepEqual(
    variables.map(({ name, action }) => [name, action]),
    [
      ['OPAL_PREFIX', 'copy'],
      ['PMIX_INSTALL_PREFIX', 'unset'],
    ],
  )
  assert.deepEqual(plan({ env }).variables ?? [], [])
})

test('it is all of one build or nothing', () => {
  const refused = (given: Case, code: MpiKeptCode, message: RegExp) => {
    assert.throws(() => plan({ options: HOST, ...given }), { code: 'BERTH_EMPI', message })
    const made = plan({ ...given, host: { named: true } })
    assert.ok(made.kept?.some((one) => one.code === code))
  }
  const five = { ...image, libraries: [own('libmpi.so.40', 'c'), own('libopen-pal.so.80')] }
  refused(
    { mpi: [five] },
    'release',
    /it has no libopen-pal\.so\.80 as the image's has: it is libopen-pal\.so\.40/,
  )
  refused(
    { mpi: [{ ...image, libraries: [own('libmpi.so.40', 'c')] }] },
    'layers',
    /libopen-pal.* not found beside it/,
  )
  const java = { ...image, libraries: [...image.libraries, own('libmpi_java.so.40', 'other')] }
  refused({ mpi: [java] }, 'release', /it has no libmpi_java\.so\.40/)
  const { open: _, ...bare } = { ...host, named: true }
  refused({ only: bare }, 'modules', /its modules were not found/)
  refused({ libc: { version: '2.31' } }, 'glibc', /needs glibc 2\.34, the image offers 2\.31/)
  refused({ mpi: [image, five] }, 'another-kept', /another Open MPI of the image is kept/)
})

test.run()
