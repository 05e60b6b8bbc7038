// SPDX-License-Identifier: Apache-2.0
/** Facts about an image: which MPI a library is, what a scan tells, and what root takes of it. */
import assert from 'node:assert/strict'
import { mpiFamily, mpiRole } from '../../src/image/elf_names.js'
import { FACTS_VERSION, type ImageFacts, takeFacts } from '../../src/image/facts.js'
import { describe } from '../../src/image/inspect.js'
import type { ElfFacts, ImageScan } from '../../src/native.js'
import { suite } from '../suite.js'

const test = suite('facts of an image')
const LIB = 'usr/lib/x86_64-linux-gnu'

function elf(path: string, more: Partial<ElfFacts> = {}): ElfFacts {
  return {
    ...{ path, bits: 64, machine: 62, executable: false, soname: path.split('/').at(-1) ?? '', needed: [] },
    ...{ rpath: '', runpath: '', versionsNeeded: [], versionsProvided: [], exporter: false },
    ...{ defines: [], wants: [], text: '' },
    ...more,
  }
}

test('the family of an MPI is told by its symbols, the standard ABI by its name', () => {
  const open = ['MPI_Init', 'ompi_mpi_comm_world']
  for (const [soname, defines, needed, family] of [
    ['libmpi.so.12', ['MPI_Init'], [], 'mpich'],
    ['libmpich.so.12', ['MPI_Init'], [], 'mpich'],
    ['libmpi.so.12', ['MPI_Init', 'I_MPI_Init'], [], 'mpich'],
    ['libmpi.so.12', ['MPI_Init'], ['libibverbs.so.1'], 'mpich'],
    ['libmpi_gnu_123.so.12', ['MPI_Init'], ['libpmi.so.0'], 'mpich'],
    ['libmpich_gnu_71.so.3', ['MPI_Init'], [], 'mpich'],
    ['libmpi.so.12', ['MPI_Init'], ['libpscom.so.2'], 'mpich'],
    ['libmpi.so.40', open, ['libopen-pal.so.40'], 'openmpi'],
    ['libmpi.so.12', open, ['libopen-rte.so.12'], 'openmpi'],
    ['libmpi.so.80', ['MPI_Init'], ['libopen_mpi.so.80'], 'openmpi'],
    ['libmpi_abi.so.1', ['MPI_Init'], [], 'abi'],
    ['libmpi_abi.so.0', ['MPI_Init'], ['libopen_mpi.so.80'], 'abi'],
    ['libmpifort.so.12', ['mpi_init_'], ['libmpi.so.12'], undefined],
    ['libmpi_gtl_cuda.so.0', [], [], undefined],
  ] as const)
    assert.equal(
      mpiFamily(elf(`opt/lib/${soname}`, { soname, defines: [...defines], needed: [...needed] })),
      family,
      soname,
    )
  assert.equal(mpiFamily(elf('opt/lib/libmpi_abi.so.1', { soname: '', defines: ['MPI_Init'] })), 'abi')
})

test('bindings have one role under the names of upstream, Debian and Cray; Open MPI’s have none', () => {
  for (const [soname, role] of Object.entries({
    'libmpifort.so.12': 'fort',
    'libmpichfort.so.12': 'fort',
    'libmpifort_gnu_123.so.12': 'fort',
    'libmpicxx.so.12': 'cxx',
    'libmpichcxx.so.12': 'cxx',
    'libmpi.so.12': undefined,
    'libmpi_mpifh.so.40': undefined,
    'libmpi_cxx.so.40': undefined,
    'libmpi_usempif08.so.40': undefined,
  }))
    assert.equal(mpiRole({ soname }), role, soname)
})

const C = elf(`${LIB}/libmpich.so.12.2.2`, {
  soname: 'libmpich.so.12',
  exporter: true,
  defines: ['MPIR_Internal', 'MPI_Init'],
})
const FORT = elf(`${LIB}/libmpichfort.so.12.2.2`, {
  ...{ soname: 'libmpichfort.so.12', exporter: true, needed: ['libmpich.so.12'] },
  ...{ defines: ['mpi_init_'], wants: ['MPI_Init'] },
})
const SCAN: ImageScan = {
  names: [
    { path: `${LIB}/libmpich.so.12.2.2`, target: '' },
    { path: `${LIB}/libmpich.so.12`, target: 'libmpich.so.12.2.2' },
    { path: `${LIB}/libmpichfort.so.12.2.2`, target: '' },
    { path: `${LIB}/libmpichfort.so.12`, target: 'libmpichfort.so.12.2.2' },
    { path: `${LIB}/libodd\n.so.1`, target: '' },
    { path: 'opt/far/libfar.so.1', target: '' },
    { path: `${LIB}/libnowhere.so.1`, target: 'gone.so' },
  ],
  found: [
    C,
    FORT,
    elf(`${LIB}/libc.so.6`, { versionsProvided: ['GLIBC_2.4', 'GLIBC_2.36', 'GLIBC_PRIVATE'] }),
    elf(`${LIB}/libpmix.so.2.6.2`, { text: '4.2.2' }),
    elf('opt/lib/libplain.so', { needed: ['libmpich.so.12'], wants: ['MPI_Send'] }),
    elf('opt/app', { executable: true, needed: ['libmpichfort.so.12'], wants: ['mpi_init_'] }),
    elf('opt/other', { executable: true, needed: ['libc.so.6'], wants: ['MPI_Nobody'] }),
    elf('opt/bad\x1bname', { executable: true, needed: ['libmpich.so.12'], wants: ['MPI_Evil'] }),
  ],
  truncated: false,
}

test('a scan tells the C library, the MPI with its names, bindings and users, PMIx, and what the loader finds', () => {
  const facts = describe(SCAN, undefined)
  assert.deepEqual(facts, {
    version: FACTS_VERSION,
    libc: { kind: 'glibc', version: '2.36', path: `/${LIB}/libc.so.6`, machine: 62 },
    mpi: [
      {
        ...{ family: 'mpich', major: 12 },
        libraries: [
          {
            ...{ role: 'c', path: `/${LIB}/libmpich.so.12.2.2`, soname: 'libmpich.so.12' },
            ...{ names: ['libmpich.so.12', 'libmpich.so.12.2.2'], wants: [] },
          },
          {
            ...{ role: 'fort', path: `/${LIB}/libmpichfort.so.12.2.2`, soname: 'libmpichfort.so.12' },
            ...{ names: ['libmpichfort.so.12', 'libmpichfort.so.12.2.2'], wants: ['MPI_Init'] },
          },
        ],
        functions: ['MPI_Init'],
        wants: ['MPI_Send', 'mpi_init_'],
        users: { count: 2, example: '/opt/app' },
        runtimes: [],
      },
    ],
    pmix: [{ path: `/${LIB}/libpmix.so.2.6.2`, release: '4.2.2' }],
    libraries: {
      'libmpich.so.12': `/${LIB}/libmpich.so.12.2.2`,
      'libmpich.so.12.2.2': `/${LIB}/libmpich.so.12.2.2`,
      'libmpichfort.so.12': `/${LIB}/libmpichfort.so.12.2.2`,
      'libmpichfort.so.12.2.2': `/${LIB}/libmpichfort.so.12.2.2`,
    },
    truncated: false,
  })
  assert.deepEqual(takeFacts(JSON.stringify(facts)), facts)
})

/** As conda lays it out: everything in one prefix, found by RPATH; a link leads to the file. */
function runtimesOf(more: Partial<ElfFacts> = {}, cached: readonly string[] = []): unknown {
  const lib = 'opt/conda/lib'
  const [cxx, gcc] = ['libstdc++.so.6.0.28', 'libgcc_s.so.1']
  const versionsProvided = ['GLIBCXX_3.4', 'GLIBCXX_3.4.28', 'GLIBCXX_3.4.9', 'CXXABI_1.3.12', 'CXXABI_TM_1']
  const scan: ImageScan = {
    names: [
      { path: `${lib}/libmpi.so.12`, target: '' },
      { path: `${lib}/${cxx}`, target: '' },
      { path: `${lib}/libstdc++.so.6`, target: cxx },
      { path: `${lib}/${gcc}`, target: '' },
      { path: 'opt/far/libstdc++.so.6', target: '' },
      { path: `${lib}/libstdc++.so.6.0.28-gdb.py`, target: '' },
      ...cached.map((name) => ({ path: `${LIB}/${name}`, target: `/${lib}/${name}` })),
    ],
    found: [
      { ...C, path: `${lib}/libmpi.so.12`, soname: 'libmpi.so.12' },
      elf(`${lib}/${cxx}`, { versionsProvided }),
      elf(`${lib}/${gcc}`, { versionsProvided: ['GCC_3.0', 'GCC_12.0.0', 'GCC_4.2.0'] }),
      elf('opt/far/libstdc++.so.6', { versionsProvided: ['GLIBCXX_3.4.20'] }),
      elf('opt/conda/bin/app', { executable: true, needed: ['libmpi.so.12'], ...more }),
    ],
    truncated: false,
  }
  const facts = describe(scan, undefined)
  assert.deepEqual(takeFacts(JSON.stringify(facts)), facts)
  return facts.mpi[0]?.runtimes
}

test('what programs find of GCC’s runtimes before the cache’s is told: beside the MPI, and where RPATH leads', () => {
  const cxx = { path: '/opt/conda/lib/libstdc++.so.6', provides: ['GLIBCXX_3.4.28', 'CXXABI_1.3.12'] }
  const gcc = { path: '/opt/conda/lib/libgcc_s.so.1', provides: ['GCC_12.0.0'] }
  const far = { path: '/opt/far/libstdc++.so.6', provides: ['GLIBCXX_3.4.20'] }
  assert.deepEqual(runtimesOf(), [cxx, gcc])
  assert.deepEqual(runtimesOf({ rpath: '$ORIGIN/../../far:/opt/none' }), [cxx, gcc, far])
  // By RUNPATH a program finds what it asks for itself.
  assert.deepEqual(runtimesOf({ runpath: '/opt/far/' }), [cxx, gcc])
  const asks = { needed: ['libmpi.so.12', 'libstdc++.so.6'], rpath: '/opt/void' }
  assert.deepEqual(runtimesOf({ ...asks, runpath: '$ORIGIN/../../far' }), [cxx, gcc, far])
})

test('a runtime beside the MPI that the cache leads to as well gives way there, unless RPATH leads to it', () => {
  const [name] = ['libstdc++.so.6']
  const paths = (more: Partial<ElfFacts>) =>
    (runtimesOf(more, [name]) as { path: string }[]).map(({ path }) => path)
  assert.deepEqual(paths({}), ['/opt/conda/lib/libgcc_s.so.1'])
  assert.deepEqual(paths({ rpath: '$ORIGIN/../lib' }), [
    '/opt/conda/lib/libstdc++.so.6',
    '/opt/conda/lib/libgcc_s.so.1',
  ])
})

test('musl is known by its loader, nothing by nothing, and a damaged cache is none', () => {
  const musl = { names: [{ path: 'lib/ld-musl-x86_64.so.1', target: '' }], found: [], truncated: true }
  const facts = describe(musl, Buffer.from('ld.so-1.7.0'))
  assert.deepEqual(facts.libc, { kind: 'musl', version: '', path: '/lib/ld-musl-x86_64.so.1', machine: 0 })
  assert.deepEqual([facts.cache, facts.truncated], [undefined, true])
  assert.equal(describe({ names: [], found: [], truncated: false }, undefined).libc.kind, 'none')
})

/** Facts of SCAN and a cache with the value at a path replaced; undefined: left out. */
function damaged(path: string, value: unknown): string {
  const cache = [{ name: 'libm.so.6', path: '/lib/libm.so.6', flags: 771, hwcaps: '', mask: '' }]
  const facts: ImageFacts = { ...describe(SCAN, undefined), cache }
  const copy: Record<string, unknown> = JSON.parse(JSON.stringify(facts))
  const keys = path.split('/')
  const last = keys.pop() ?? ''
  let at = copy
  for (const key of keys) at = at[key] as Record<string, unknown>
  at[last] = value
  return JSON.stringify(copy)
}

test('root takes facts by shape and size only: what inspect.ts does not write is the importer’s fault', () => {
  const refused = (text: string, why: string) =>
    assert.throws(() => takeFacts(text), { code: 'BERTH_EIMPORTER', message: /sent a malformed / }, why)
  assert.doesNotThrow(() => takeFacts(damaged('truncated', false)))
  const strings = ['libc/version', 'libc/path', 'mpi/0/libraries/0/path', 'mpi/0/libraries/0/names/0']
  const lists = [
    'mpi',
    'pmix',
    'cache',
    'mpi/0/libraries',
    'mpi/0/functions',
    'mpi/0/wants',
    'mpi/0/runtimes',
  ]
  strings.push(
    'mpi/0/functions/0',
    'mpi/0/users/example',
    'pmix/0/release',
    'libraries/libx.so',
    'cache/0/name',
  )
  for (const path of strings)
    for (const bad of [1, null, {}, ['x'], 'a\nb', 'a\0', '\x1b[2J', 'x'.repeat(4097)])
      refused(damaged(path, bad), `${path} = ${JSON.stringify(bad).slice(0, 20)}`)
  for (const path of ['libc/machine', 'mpi/0/major', 'mpi/0/users/count'])
    for (const bad of [-1, 1.5, 2 ** 60, '12', null, undefined]) refused(damaged(path, bad), path)
  for (const path of lists)
    for (const bad of ['x', 7, {}, null, [7], [null], [[]], Array(40_001).fill('x')])
      refused(damaged(path, bad), `${path} = ${JSON.stringify(bad).slice(0, 20)}`)
  for (const [path, bad] of [
    ['version', FACTS_VERSION - 1],
    ['version', undefined],
    ['libc', null],
    ['libc', 'glibc'],
    ['libraries', []],
    ['mpi/0/users', undefined],
    ['cache/0/flags', 0.5],
    ['cache/0/mask', '0x1'],
    ['cache/0/mask', 'f'.repeat(17)],
  ] as const)
    refused(damaged(path, bad), `${path} = ${JSON.stringify(bad)}`)
  for (const text of ['', '{', 'null', '[]', '"x"', '{}']) refused(text, text)
  refused(`${' '.repeat(1 << 20)}${damaged('truncated', false)}`, 'too long')
})

test('words that nobody knows become known ones, and __proto__ is a name like others', () => {
  assert.equal(takeFacts(damaged('libc/kind', 'bionic')).libc.kind, 'none')
  assert.equal(takeFacts(damaged('mpi/0/family', 'lam')).mpi[0]?.family, 'mpich')
  assert.equal(takeFacts(damaged('mpi/0/libraries/0/role', 7)).mpi[0]?.libraries[0]?.role, 'other')
  assert.equal(takeFacts(damaged('truncated', 'yes')).truncated, false)
  const text = damaged('truncated', false).replace('"libraries":{"', '"libraries":{"__proto__":"/evil","')
  const { libraries } = takeFacts(text)
  assert.equal(Object.getPrototypeOf(libraries), Object.prototype)
  assert.equal(libraries['libmpich.so.12'], `/${LIB}/libmpich.so.12.2.2`)
})

test.run()
