// SPDX-License-Identifier: Apache-2.0
/** Images whose MPI is of another kind than the node's, lies elsewhere, or cannot be replaced: each runs, and why is said. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { hasProgram } from '../native/reader/lab.js'
import { suite } from '../suite.js'
import { must, type Outcome } from './command.js'
import { exits, refuses, says } from './expect.js'
import { useCluster } from './fixture.js'
import { CACHE_DIR, publishLike } from './images.js'
import { agrees, compileProbe, type MpiImage, notInSid, packagesFile, publishMpi } from './mpi_images.js'
import { makeTar, type TarEntry } from './tar.js'

const missing = ['mpicc.mpich', 'musl-gcc'].filter((name) => !hasProgram(name)).join(', ')
const notInSidNow = missing || (await notInSid('mpich-sid', 'libmpi_abi_mpich.so.1'))
const test = suite('MPI of other kinds')
mkdirSync(CACHE_DIR, { recursive: true })
/** None but root can put files there: the node's libraries are read nowhere else. */
const installed = mkdtempSync(join(CACHE_DIR, 'own-cxx-'))
chmodSync(installed, 0o755)
const at = useCluster(test, { nodes: [{}], berthConf: `[profile cxx]\nmpi = ${installed}\n` })
const folder = mkdtempSync(join(tmpdir(), 'berth-abi-'))
test.after(() => {
  for (const path of [folder, installed]) rmSync(path, { recursive: true })
})

const LIBRARIES = 'usr/lib/x86_64-linux-gnu'

interface Recipe {
  /** As programs ask for the library. */
  soname: string
  flags?: readonly string[]
  compiler?: string
  rpath?: string
}

/** A program and the stand-in library that it was linked with. */
async function compile(name: string, { soname, flags = [], compiler = 'cc', rpath }: Recipe) {
  const library = join(folder, `${name}.${soname}`)
  const program = join(folder, name)
  const source = (file: string) => join(import.meta.dirname, file)
  const shared = ['-shared', '-fPIC', `-Wl,-soname,${soname}`]
  await must([compiler, ...flags, ...shared, '-o', library, source('mpi_standin.c')])
  // RPATH and not RUNPATH: it goes before LD_LIBRARY_PATH, as conda's compilers have it.
  const where = rpath === undefined ? [] : ['-Wl,--disable-new-dtags', `-Wl,-rpath,${rpath}`]
  await must([compiler, ...flags, '-O1', '-o', program, source('mpi_small.c'), library, ...where])
  return { program, library }
}

const folders = (...names: string[]): TarEntry[] => names.map((name) => ({ name: `${name}/`, type: '5' }))

/** One file out of the packages of an image. */
async function fileOf(image: MpiImage, pattern: string): Promise<Buffer> {
  const options = { maxBuffer: 1 << 28 }
  return execFileSync('tar', ['-xOf', await packagesFile(image), '--wildcards', pattern], options)
}

function srun(image: string, options: readonly string[], program: string): Promise<Outcome> {
  return at.cluster.srun(['-n1', ...options, `--container-image=${image}`, program])
}

async function reasons(image: string): Promise<string> {
  const seen = exits(await srun(image, ['--container-explain'], 'true'), 0)
  const { notes } = JSON.parse(seen.stdout).berth as { notes: string[] }
  return notes.filter((note) => note.startsWith('mpi: ')).join('\n')
}

test.needs(missing, 'an MPI in a place of its own, which only RPATH names, is replaced there', async () => {
  const { program } = await compile('conda', { soname: 'libmpi.so.12', rpath: '/opt/conda/lib' })
  const image = await publishMpi(at.registry, 'mpich-trixie', { conda: program }, [
    ...folders('opt/conda', 'opt/conda/lib'),
    { name: 'opt/conda/lib/libmpi.so.12', content: await fileOf('mpich-trixie', '*/libmpich.so.12.*') },
    // Bits that would make it root's, if the image could say who is root.
    { name: 'opt/bin/conda-setuid', mode: 0o4755, content: readFileSync(program) },
  ])
  for (const name of ['conda', 'conda-setuid']) {
    const seen = exits(await srun(image, ['--mpi=pmi2'], name), 0)
    says(seen, /^uid (\d+) euid \1 by MPICH Version:\s+4\.0\.2/m)
    says(seen, /^mapped \/opt\/conda\/lib\/libmpi\.so\.12$/m)
  }
  const own = exits(await srun(image, ['--mpi=pmi2', '--container-mpi=image'], 'conda'), 0)
  says(own, /by MPICH Version:\s+4\.[23]/)
})

/** A stand-in of the node's MPI, and of a library below it that wants the libstdc++ of the node's compiler. */
async function installCxx(): Promise<void> {
  const [source, fast, mpi] = ['fast.cc', 'libfast.so.1', 'libmpi.so.12'].map((name) => join(installed, name))
  const code = '#include <string>\nstd::string last(std::string text) { return text + text; }\n'
  writeFileSync(source ?? '', code)
  const shared = ['-shared', '-fPIC']
  await must(['g++', ...shared, '-Wl,-soname,libfast.so.1', '-o', fast ?? '', source ?? ''])
  const flags = ['-DNAME="the node"', '-Wl,-soname,libmpi.so.12', '-Wl,--no-as-needed', '-Wl,-rpath,$ORIGIN']
  const standIn = join(import.meta.dirname, 'mpi_standin.c')
  await must(['cc', ...shared, ...flags, '-o', mpi ?? '', standIn, fast ?? ''])
}

/** What an old libstdc++ says of itself; nothing is in it. */
async function oldRuntime(): Promise<Buffer> {
  const [source, map, library] = ['old.c', 'old.map', 'libstdc++.so.6'].map((name) => join(folder, name))
  writeFileSync(source ?? '', 'int stub(void) { return 7; }\n')
  const versions = ['GLIBCXX_3.4 { stub; };', 'GLIBCXX_3.4.17 { } GLIBCXX_3.4;', 'CXXABI_1.3 { };']
  writeFileSync(map ?? '', versions.join('\n'))
  const flags = ['-shared', '-fPIC', '-Wl,-soname,libstdc++.so.6', `-Wl,--version-script=${map}`]
  await must(['cc', ...flags, '-o', library ?? '', source ?? ''])
  return readFileSync(library ?? '')
}

test.needs(
  missing,
  'where programs find an older libstdc++ beside their MPI than the node’s needs (stand-ins), they keep it',
  async () => {
    await installCxx()
    const recipe = { soname: 'libmpi.so.12', flags: ['-DNAME="the image"'], rpath: '$ORIGIN/../lib' }
    const { program, library } = await compile('small', recipe)
    const publish = (name: string, runtime?: Buffer) => {
      const file = 'libstdc++.so.6.0.17'
      const runtimes: TarEntry[] = [
        { name: `opt/lib/${file}`, content: runtime ?? '' },
        { name: 'opt/lib/libstdc++.so.6', type: '2', link: file },
      ]
      return publishMpi(at.registry, 'none-trixie', { [name]: program }, [
        ...folders('opt/lib'),
        { name: 'opt/lib/libmpi.so.12', content: readFileSync(library) },
        ...(runtime === undefined ? [] : runtimes),
      ])
    }
    const auto = ['--container-profile=cxx']
    const old = await publish('old-cxx', await oldRuntime())
    says(exits(await srun(old, auto, 'old-cxx'), 0), /by the image$/m)
    const why =
      /libfast\.so\.1 needs GLIBCXX_3\.4\.\d+, and programs of the image find \/opt\/lib\/libstdc\+\+\.so\.6 first, which ends at GLIBCXX_3\.4\.17/
    says(await srun(old, ['-v', ...auto], 'old-cxx'), why)
    refuses(await srun(old, ['--container-mpi=host', ...auto], 'old-cxx'), why)
    const newer = await publish('newer-cxx', await fileOf('none-trixie', '*/libstdc++.so.6.*'))
    says(exits(await srun(newer, auto, 'newer-cxx'), 0), /by the node$/m)
    const without = await publish('no-cxx')
    says(exits(await srun(without, auto, 'no-cxx'), 0), /by the node$/m)
  },
)

test.needs(missing, 'a libmpi.so.12 that is an Open MPI 1.10 (stand-in) is not taken for MPICH', async () => {
  const { program, library } = await compile('old', { soname: 'libmpi.so.12', flags: ['-DOPEN_MPI'] })
  const content = readFileSync(library)
  const image = await publishMpi(at.registry, 'none-trixie', { old: program }, [
    { name: `${LIBRARIES}/libmpi.so.12`, content },
  ])
  const seen = exits(await srun(image, [], 'old'), 0)
  says(seen, /by a stand-in\nmapped \/usr\/lib\/x86_64-linux-gnu\/libmpi\.so\.12$/m)
  assert.match(await reasons(image), /image's Open MPI \(.*libmpi\.so\.12\) is kept: .*Open MPI/)
  refuses(await srun(image, ['--container-mpi=host'], 'old'), /BERTH_EMPI/)
})

test.needs(missing, 'an image of musl keeps its MPI (stand-in), since the node’s needs glibc', async () => {
  const { program, library } = await compile('small', { soname: 'libmpi.so.12', compiler: 'musl-gcc' })
  const loader = readFileSync('/lib/ld-musl-x86_64.so.1')
  const image = await publishLike(at.registry, 'musl', {
    layers: [
      makeTar([
        ...folders('lib', 'usr', 'usr/lib'),
        { name: 'lib/ld-musl-x86_64.so.1', mode: 0o755, content: loader },
        { name: 'usr/lib/libmpi.so.12', content: readFileSync(library) },
        { name: 'bin/small', mode: 0o755, content: readFileSync(program) },
      ]),
    ],
  })
  says(exits(await srun(image, [], 'small'), 0), /by a stand-in\nmapped \/usr\/lib\/libmpi\.so\.12$/m)
  assert.match(await reasons(image), /is kept: .*built on musl/)
  refuses(await srun(image, ['--container-mpi=host'], 'small'), /BERTH_EMPI.*musl/)
})

test.needs(
  notInSidNow,
  'a program that uses a function of MPICH 5 keeps it; so does one of the standard ABI',
  async () => {
    const newer = await compile('newer', { soname: 'libmpich.so.12', flags: ['-DNEWER'] })
    const standard = await compile('standard', { soname: 'libmpi_abi.so.1' })
    const programs = { newer: newer.program, standard: standard.program }
    const image = await publishMpi(at.registry, 'mpich-sid', programs)
    for (const [name, library] of [
      ['newer', /^mapped .*\/libmpich\.so\.12/m],
      ['standard', /^mapped .*\/libmpi_abi/m],
    ] as const) {
      const seen = exits(await srun(image, ['--mpi=pmi2'], name), 0)
      says(seen, /by MPICH Version:\s+[5-9]/)
      says(seen, library)
    }
    const why = await reasons(image)
    assert.match(why, /MPICH \(.*\) is kept: .*it lacks MPI_Abi_get_version, which .*newer needs/)
    assert.match(why, /standard ABI \(.*\) is kept: this node has no/)
  },
)

test.needs(
  notInSidNow,
  'a program in an image of MPICH 5 that needs no new function runs with the node’s 4.0, and right',
  async () => {
    const probe = await compileProbe(folder, 'mpicc.mpich')
    const image = await publishMpi(at.registry, 'mpich-sid', { probe })
    const run = (...options: string[]) =>
      at.cluster.srun(['-n2', '--mpi=pmi2', ...options, `--container-image=${image}`, 'probe', 'node'])
    agrees(await run(), 2, /MPICH Version: +4\.0\.2/)
    assert.match(await reasons(image), /MPICH \(.*\) is replaced by the node's .*\/libmpich\.so\.12\.2/)
    agrees(await run('--container-mpi=image'), 2, /MPICH Version: +[5-9]\./)
  },
)

test.run()
