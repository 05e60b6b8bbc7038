// SPDX-License-Identifier: Apache-2.0
/** Which MPI of the node stands in for which of an image, and what else changes then. */
import assert from 'node:assert/strict'
import { FACTS_VERSION, type ImageFacts, type ImageMpi } from '../../src/image/facts.js'
import { type CacheEntry, parseCache } from '../../src/image/ldcache.js'
import { planHookup } from '../../src/plan/hookup.js'
import type { HostLibrary, HostMpi } from '../../src/plan/host.js'
import type { PlanInput } from '../../src/plan/input.js'
import { planMpi } from '../../src/plan/mpi.js'
import { MPI_REMEDIES, type MpiKeptCode } from '../../src/plan/mpi_kept.js'
import { BerthError } from '../../src/report/errors.js'
import { suite } from '../suite.js'
import { planInput } from './plan_input.js'

const test = suite('plan of the MPI')
const X86_64 = 62
const LIB = '/usr/lib/x86_64-linux-gnu'

const imageMpich: ImageMpi = {
  family: 'mpich',
  major: 12,
  libraries: [
    {
      role: 'c',
      path: `${LIB}/libmpich.so.12.4.1`,
      soname: 'libmpich.so.12',
      names: ['libmpich.so.12'],
      wants: [],
    },
    {
      ...{ role: 'fort', path: `${LIB}/libmpichfort.so.12.4.1`, soname: 'libmpichfort.so.12' },
      ...{ names: ['libmpichfort.so.12'], wants: ['MPI_Init', 'MPIR_Internal'] },
    },
  ],
  functions: ['MPI_Init', 'MPI_Send', 'MPI_Send_c'],
  wants: ['MPI_Init', 'MPI_Send', 'mpi_init_'],
  users: { count: 1, example: '/opt/app' },
  runtimes: [],
}

const facts: ImageFacts = {
  version: FACTS_VERSION,
  libc: { kind: 'glibc', version: '2.36', path: `${LIB}/libc.so.6`, machine: X86_64 },
  mpi: [imageMpich],
  pmix: [],
  libraries: { 'libhwloc.so.15': `${LIB}/libhwloc.so.15.9.0`, 'libucp.so.0': `${LIB}/libucp.so.0.0.0` },
  cache: [entry('libucp.so.0', `${LIB}/libucp.so.0`), entry('libhwloc.so.15', `${LIB}/libhwloc.so.15`)],
  truncated: false,
}

function entry(name: string, path: string): CacheEntry {
  return { name, path, flags: 0x303, hwcaps: '', mask: '' }
}

function library(name: string, path: string, needed: string[] = [], glibc = '2.34'): HostLibrary {
  return { name, path, soname: name, needed, glibc, runtime: [] }
}

const hostMpich: HostMpi = {
  family: 'mpich',
  major: 12,
  machine: X86_64,
  libraries: {
    c: {
      ...library('libmpi.so.12', '/opt/mpich/lib/libmpi.so.12.2.2', ['libucp.so.0', 'libhwloc.so.15']),
      defines: new Set(['MPI_Init', 'MPI_Send']),
    },
    fort: {
      ...library('libmpifort.so.12', '/opt/mpich/lib/libmpifort.so.12.2.2', ['libmpi.so.12']),
      defines: new Set(['mpi_init_']),
    },
  },
  dependencies: new Map([
    ['libucp.so.0', library('libucp.so.0', '/opt/ucx/libucp.so.0.0.0', ['libnuma.so.1'])],
    ['libnuma.so.1', library('libnuma.so.1', `${LIB}/libnuma.so.1.0.0`)],
    ['libhwloc.so.15', library('libhwloc.so.15', `${LIB}/libhwloc.so.15.6.0`)],
  ]),
  missing: [],
  origin: 'berth.conf:3',
  named: true,
}

interface Case {
  options?: string[]
  facts?: Partial<ImageFacts>
  image?: Partial<ImageMpi>
  host?: Partial<HostMpi>
}

function inputOf({ options = [], image, host, ...more }: Case = {}): PlanInput {
  const input = planInput({ options })
  const mpi = [{ ...imageMpich, ...image }]
  return {
    ...input,
    image: { ...input.image, facts: { ...facts, mpi, ...more.facts } },
    host: { machine: 'x86_64', mpi: [{ ...hostMpich, ...host }] },
  }
}

function plan(given: Case = {}) {
  return planMpi(inputOf(given))
}

/** The image's library is kept, for this reason; who asked for the node's is told the way out. */
function kept(given: Case, code: MpiKeptCode, reason: RegExp): void {
  const made = plan(given)
  assert.deepEqual(made.mounts ?? [], [])
  assert.deepEqual(
    made.kept?.map((one) => one.code),
    [code],
  )
  assert.match(made.kept?.[0]?.note ?? '', reason)
  assert.ok(made.notes?.includes(made.kept?.[0]?.note ?? ''))
  assert.throws(
    () => plan({ ...given, options: ['container-mpi=host'] }),
    (error: unknown) =>
      error instanceof BerthError && error.code === 'BERTH_EMPI' && error.hint.startsWith(MPI_REMEDIES[code]),
  )
}

test('both libraries are bound over the image’s files, whatever their names', () => {
  const { mounts = [], notes = [] } = plan()
  const binds = mounts.flatMap((mount) => (mount.kind === 'bind' ? [`${mount.source} ${mount.target}`] : []))
  assert.deepEqual(binds, [
    `/opt/mpich/lib/libmpi.so.12.2.2 ${LIB}/libmpich.so.12.4.1`,
    `/opt/mpich/lib/libmpifort.so.12.2.2 ${LIB}/libmpichfort.so.12.4.1`,
    '/opt/ucx /.berth/host/opt/ucx',
    `${LIB} /.berth/host${LIB}`,
  ])
  assert.match(
    notes[0] ?? '',
    /^mpi: the image's MPICH .* is replaced by the node's .* with libnuma\.so\.1 libucp\.so\.0$/,
  )
  assert.match(notes[1] ?? '', /^mpi: 1 functions .*MPI_Send_c/)
})

test('the cache keeps the image’s entries; fabric and what is missing is the node’s, by the name that is asked for', () => {
  const cache = planHookup(inputOf()).mounts.find(({ target }) => target === '/etc/ld.so.cache')
  assert.ok(cache?.kind === 'file')
  const entries = parseCache(Buffer.from(cache.content)) ?? []
  assert.deepEqual(Object.fromEntries(entries.map(({ name, path }) => [name, path])), {
    'libucp.so.0': '/.berth/host/opt/ucx/libucp.so.0.0.0',
    'libnuma.so.1': `/.berth/host${LIB}/libnuma.so.1.0.0`,
    'libhwloc.so.15': `${LIB}/libhwloc.so.15`,
    'libmpi.so.12': `${LIB}/libmpich.so.12.4.1`,
    'libmpifort.so.12': `${LIB}/libmpichfort.so.12.4.1`,
  })
})

test('an older library of the image is not used for the node’s MPI', () => {
  const { notes = [] } = plan({
    facts: { libraries: { ...facts.libraries, 'libhwloc.so.15': `${LIB}/libhwloc.so.15.5.0` } },
  })
  assert.match(notes[0] ?? '', /with libhwloc\.so\.15 /)
})

test('what does not fit is kept, with the reason', () => {
  const libc = (more: Partial<ImageFacts['libc']>) => ({ facts: { libc: { ...facts.libc, ...more } } })
  kept(libc({ version: '2.31' }), 'glibc', /libmpi\.so\.12\.2\.2 needs glibc 2\.34, the image offers 2\.31/)
  kept(libc({ kind: 'musl' }), 'musl', /built on musl/)
  kept(libc({ kind: 'none' }), 'unknown-libc', /C library is not known/)
  kept(libc({ machine: 183 }), 'machine', /for aarch64, the node's MPI for x86_64/)
  kept({ image: { wants: ['MPI_Send_c'] } }, 'symbols', /it lacks MPI_Send_c, which \/opt\/app needs/)
  kept({ image: { family: 'openmpi' } }, 'no-family', /is kept: this node has no Open MPI/)
  kept({ image: { major: 14 } }, 'abi', /the node's MPICH has ABI 12, the image's 14/)
  kept(
    { host: { missing: ['libcxi.so.1'] } },
    'missing-library',
    /libcxi\.so\.1 is needed by it and not found/,
  )
})

/** The node's UCX wants this much of libstdc++, and the image's programs find its own first, beside their MPI. */
function conda(provides: string[], runtime = ['GLIBCXX_3.4.32', 'CXXABI_1.3.13']): Case {
  const ucp = hostMpich.dependencies.get('libucp.so.0')
  assert.ok(ucp !== undefined)
  return {
    image: { runtimes: [{ path: '/opt/conda/lib/libstdc++.so.6', provides }] },
    host: { dependencies: new Map([...hostMpich.dependencies, ['libucp.so.0', { ...ucp, runtime }]]) },
  }
}

test('a libstdc++ beside the image’s MPI that is too old for the node’s libraries keeps it', () => {
  kept(
    conda(['GLIBCXX_3.4.28', 'CXXABI_1.3.12']),
    'gcc-runtime',
    /does not fit: libucp\.so\.0\.0\.0 needs GLIBCXX_3\.4\.32, and programs of the image find \/opt\/conda\/lib\/libstdc\+\+\.so\.6 first, which ends at GLIBCXX_3\.4\.28$/,
  )
  kept(conda(['GLIBCXX_3.4.32', 'CXXABI_1.3.9']), 'gcc-runtime', /needs CXXABI_1\.3\.13/)
  kept(conda([]), 'gcc-runtime', /which has none$/)
  const { mounts = [] } = plan(conda(['GLIBCXX_3.4.33', 'CXXABI_1.3.13']))
  assert.equal(mounts.length, 4)
})

test('of a libgcc beside it the same is asked, and of what comes with the node’s libstdc++', () => {
  const needy = { ...library('libstdc++.so.6', `${LIB}/libstdc++.so.6.0.33`), runtime: ['GCC_14.0.0'] }
  const path = '/opt/conda/lib/libgcc_s.so.1'
  const given = (more: string[]): Case => ({
    image: {
      runtimes: [
        { path, provides: ['GCC_12.0.0'] },
        ...more.map((one) => ({ path: one, provides: ['GLIBCXX_3.4.30', 'CXXABI_1.3.13'] })),
      ],
    },
    host: {
      dependencies: new Map([
        ...hostMpich.dependencies,
        ['libucp.so.0', library('libucp.so.0', '/opt/ucx/libucp.so.0.0.0', ['libstdc++.so.6'])],
        ['libstdc++.so.6', needy],
      ]),
    },
  })
  kept(given([]), 'gcc-runtime', /libstdc\+\+\.so\.6\.0\.33 needs GCC_14\.0\.0, and .* ends at GCC_12\.0\.0$/)
  // The node's libstdc++ is not found then, and what it wants is nobody's need.
  assert.deepEqual(plan(given(['/opt/conda/lib/libstdc++.so.6'])).kept, [])
})

test('a binding that the node does not have stays, if the node’s library has all that it wants', () => {
  const { c } = hostMpich.libraries
  assert.ok(c !== undefined)
  kept({ host: { libraries: { c } } }, 'symbols', /it lacks MPIR_Internal/)
  const whole = { ...c, defines: new Set([...c.defines, 'MPIR_Internal']) }
  const { mounts = [] } = plan({ host: { libraries: { c: whole } } })
  assert.equal(mounts.filter(({ kind }) => kind === 'bind').length, 3)
})

test('an MPI of the standard ABI is replaced by the node’s of that ABI, and by no other', () => {
  const abi = (path: string) => ({ path, soname: 'libmpi_abi.so.1' })
  const image: Partial<ImageMpi> = {
    ...{ family: 'abi', major: 1 },
    libraries: [{ ...abi('/opt/lib/libmpi_abi.so.1'), role: 'c', names: ['libmpi_abi.so.1'], wants: [] }],
    wants: ['MPI_Init'],
  }
  kept({ image }, 'no-family', /is kept: this node has no MPI's standard ABI$/)
  const { c } = hostMpich.libraries
  assert.ok(c !== undefined)
  const host: Partial<HostMpi> = {
    ...{ family: 'abi', major: 1 },
    libraries: { c: { ...c, ...abi('/opt/mpi5/libmpi_abi.so.1') } },
  }
  const { mounts = [] } = plan({ image, host, options: ['container-mpi=host'] })
  const [first] = mounts
  assert.ok(first?.kind === 'bind')
  assert.deepEqual([first.source, first.target], ['/opt/mpi5/libmpi_abi.so.1', '/opt/lib/libmpi_abi.so.1'])
  kept({ host }, 'no-family', /is kept: this node has no MPICH/)
})

test('beside an MPI that is kept, the node’s takes no library from it but newer ones', () => {
  const own: ImageMpi = { ...imageMpich, major: 14 }
  const { notes = [] } = plan({
    facts: {
      mpi: [imageMpich, own],
      libraries: { 'libucp.so.0': `${LIB}/libucp.so.0.0.0`, 'libnuma.so.1': `${LIB}/libnuma.so.0.9` },
    },
  })
  assert.match(notes[0] ?? '', /is replaced by the node's .* with libhwloc\.so\.15 libnuma\.so\.1$/)
  assert.match(notes.at(-1) ?? '', /is kept: the node's MPICH has ABI 12, the image's 14/)
})

test('an image without MPI is left alone, and only host is an error then', () => {
  kept({ facts: { mpi: [] } }, 'no-mpi', /^mpi: the image has no MPI library$/)
})

test('image and off keep the image’s, and say by whom', () => {
  for (const mode of ['image', 'off']) {
    const { mounts, notes = [] } = plan({ options: [`container-mpi=${mode}`] })
    assert.equal(mounts, undefined)
    assert.match(notes.join(), /as flag --container-mpi says|as .*container-mpi.* says/)
  }
})

test('planning takes less than a millisecond', () => {
  const cache = Array.from({ length: 700 }, (_, n) => entry(`libsome${n}.so.1`, `${LIB}/libsome${n}.so.1`))
  const input = inputOf({ facts: { cache } })
  const took = Array.from({ length: 500 }, () => {
    const begin = performance.now()
    planHookup(input)
    return performance.now() - begin
  })
  // The quickest: on a machine with more work than processors all others may have waited for somebody.
  const undisturbed = Math.min(...took)
  assert.ok(undisturbed < 1, `${undisturbed.toFixed(2)} ms`)
})

test.run()
