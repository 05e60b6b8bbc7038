// SPDX-License-Identifier: Apache-2.0
/** Real MPI programs of other Debian releases over two nodes: whose library runs them, and that the answer is right. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import { hasProgram } from '../native/reader/lab.js'
import { suite } from '../suite.js'
import type { Outcome } from './command.js'
import { exits, lines, refuses, says, saysNot } from './expect.js'
import { useCluster } from './fixture.js'
import {
  agrees,
  compileProbe,
  type MpiImage,
  notInSid,
  OVER_NODES,
  PROBE_OVER_NODES,
  publishMpi,
} from './mpi_images.js'
import { comparePingPong } from './ping_pong.js'

const missing = ['mpicc.mpich', 'mpicc.openmpi'].filter((name) => !hasProgram(name)).join(', ')
const notInSidNow = missing || (await notInSid('mpich-sid', 'libmpich.so.12'))
const test = suite('MPI of the node in images')
const at = useCluster(test, { berthConf: '[profile empty-mpi]\nmpi = /usr/share\n' })
const folder = mkdtempSync(join(tmpdir(), 'berth-mpi-'))
let program = ''
let mpich = ''
let oldMpich = ''
let openmpi = ''

test.before(async () => {
  if (missing !== '') return
  program = await compileProbe(folder, 'mpicc.mpich')
  mpich = await publishMpi(at.registry, 'mpich-trixie', { probe: program })
  oldMpich = await publishMpi(at.registry, 'mpich-bullseye', { probe: program })
  openmpi = await publishMpi(at.registry, 'openmpi-trixie', {
    probe: await compileProbe(folder, 'mpicc.openmpi'),
  })
})
test.after(() => rmSync(folder, { recursive: true }))

function probe(image: string, options: readonly string[], words: readonly string[] = []): Promise<Outcome> {
  const both = options.includes('-N2')
  const env = both ? OVER_NODES : {}
  const command = both ? PROBE_OVER_NODES : ['probe']
  return at.cluster.srun(
    [...(both ? [] : ON_FIRST), ...options, `--container-image=${image}`, ...command, ...words],
    { env },
  )
}

/** Only a node that has an image can explain what it gets. */
const ON_FIRST = ['-w', 'n1']
const OVER_BOTH = ['-N2', '-n2']

async function explain(image: string, options: readonly string[] = []): Promise<{ notes: string[] }> {
  const seen = await at.cluster.srun([
    ...ON_FIRST,
    '-n1',
    ...options,
    `--container-image=${image}`,
    '--container-explain',
    'true',
  ])
  return JSON.parse(exits(seen, 0).stdout).berth
}

function doctor(image: string): Promise<Outcome> {
  const [node] = at.cluster.nodes
  const [, plugin = ''] = readFileSync(join(at.cluster.dir, 'plugstack.conf'), 'utf8').split(' ')
  const berth = join(dirname(plugin), 'bin/berth.js')
  const places = [`--runtime-dir=${node?.runtimeDir}`, `--config=${join(at.cluster.dir, 'berth.conf')}`]
  return at.cluster.srun(['-n1', '--mpi=pmi2', berth, 'doctor', 'mpi', image, ...places])
}

/** By PMI2 alone: none of Debian's was built with PMIx. Whose library runs is told by the file, since names are the image's. */
const RELEASES = [
  ['mpich-bullseye', /MPICH Version: +3\.4/, "too old for the node's"],
  ['mpich-bookworm', /MPICH Version: +4\.0\.2/, "the node's"],
  ['mpich-trixie', /MPICH Version: +4\.[23]/, "the node's"],
  ['mpich-sid', /MPICH Version: +[5-9]\./, "the node's"],
] as const satisfies readonly (readonly [MpiImage, RegExp, string])[]

for (const [name, own, auto] of RELEASES) {
  const needs = name === 'mpich-sid' ? notInSidNow : missing
  test.needs(needs, `${name} over two nodes: by itself, and with auto by ${auto}`, async () => {
    const image = await publishMpi(at.registry, name, { probe: program })
    const run = (mode: string) =>
      probe(image, ['-N2', '-n2', '--mpi=pmi2', `--container-mpi=${mode}`], ['files'])
    const itself = await run('image')
    agrees(itself, 2, own)
    assert.equal(ofNode(itself), [false, false])
    const replaced = auto === "the node's"
    const seen = await run('auto')
    agrees(seen, 2, replaced ? /MPICH Version: +4\.0\.2/ : own)
    assert.equal(ofNode(seen), [replaced, replaced])
  })
}

/** Of each rank, whether the MPI library that it has mapped is the node's file. */
function ofNode(outcome: Outcome): boolean[] {
  const { ino } = statSync('/usr/lib/x86_64-linux-gnu/libmpich.so.12')
  const files = lines(outcome).filter((line) => /^file \d+ .*\/libmpi/.test(line))
  return files.map((line) => line.startsWith(`file ${ino} `))
}

test.needs(missing, "explain says that MPICH 4.2 is replaced by the node's 4.0", async () => {
  const { notes } = await explain(mpich)
  const why = notes.find((note) => note.startsWith('mpi: ')) ?? ''
  assert.match(
    why,
    /MPICH \(\/usr\/lib\/.*libmpich\.so\.12\S+\) is replaced by the node's \/usr\/lib\/.*libmpich\.so\.12\.2/,
  )
})

test.needs(missing, "with image it runs its own, and host is an error where the node's cannot", async () => {
  agrees(await probe(mpich, ['-n2', '--mpi=pmi2', '--container-mpi=image']), 2, /MPICH Version: +4\.[23]/)
  refuses(
    await probe(oldMpich, ['-n1', '--container-mpi=host']),
    /BERTH_EMPI.*needs glibc 2\.\d+, the image offers 2\.3\d/,
  )
})

test.needs(missing, 'a profile names the installation in place of what the node has', async () => {
  const { notes } = await explain(mpich, ['--container-profile=mpich'])
  assert.match(notes.join('\n'), /is replaced by the node's .*libmpich\.so\.12\.2.*profile mpich/)
  refuses(await probe(mpich, ['-n1', '--container-mpi=host', '--container-profile=empty-mpi']), /BERTH_EMPI/)
})

test.needs(missing, 'an image whose glibc is too old keeps its own MPI, and explain says why', async () => {
  agrees(await probe(oldMpich, ['-n2', '--mpi=pmi2']), 2, /MPICH Version: +3\.4/)
  says(
    await doctor(oldMpich),
    /ok +MPI +mpich ABI 12: .*libmpich\.so\.12[\s\S]*warn +image +.*is kept: .*\n +fix: build the image on a newer/,
  )
  const { notes } = await explain(oldMpich)
  assert.match(notes.join('\n'), /is kept: the node's .*needs glibc 2\.\d+, the image offers 2\.3\d/)
})

test.needs(missing, 'srun -v says in one line why; without it nothing is said', async () => {
  const why = /^berth: note: mpi: the image's MPICH \(.*\) is kept: the node's .* needs glibc .*$/gm
  const run = (...options: string[]) =>
    at.cluster.srun([...options, ...OVER_BOTH, `--container-image=${oldMpich}`, 'sh', '-c', 'echo ran'])
  const verbose = exits(await run('-v'), 0)
  assert.is(verbose.output.match(why)?.length, 1, verbose.output)
  assert.equal(lines(verbose), ['ran', 'ran'])
  saysNot(await run(), /note:/)
})

test.needs(missing, 'srun -v tells of an MPICH that PMIx does not start', async () => {
  const seen = await probe(mpich, ['-v', '-n2', '--mpi=pmix'])
  says(seen, /^rank 0 of 1 /m)
  says(seen, /^berth: note: pmix: .* rank 0 of 1: use --mpi=pmi2$/m)
})

test.needs(
  missing,
  'Open MPI 5 of an image keeps itself, and is told of no module that its PMIx lacks',
  async () => {
    const command = ['sh', '-c', 'echo "$PMIX_MCA_gds $PMIX_GDS_MODULE"']
    const seen = await at.cluster.srun([
      ...ON_FIRST,
      '-n1',
      '--mpi=pmix',
      `--container-image=${openmpi}`,
      ...command,
    ])
    assert.equal(lines(seen), ['hash ds21,ds12,hash'])
    const { notes } = await explain(openmpi)
    assert.match(notes.join('\n'), /Open MPI \(.*\) is kept: /, JSON.stringify(notes))
  },
)

test.needs(missing, 'ranks of a node read each other’s memory', async () => {
  const inside = await probe(mpich, ['-n2', '-N1', '--mpi=pmi2'], ['node'])
  agrees(inside, 2, /MPICH Version: +4\.0\.2/)
  assert.equal(
    lines(inside)
      .filter((line) => line.startsWith('cma '))
      .sort(),
    ['cma from 0', 'cma from 1'],
  )
  const apart = await probe(mpich, ['-n2', '-N1', '--mpi=pmi2', '--container-unshare=pid'], ['node'])
  agrees(apart, 2, /MPICH Version: +4\.0\.2/)
  says(apart, /^cma from 0$/m)
})

test.needs(
  missing,
  'a ping-pong of two ranks goes by CMA, at the speed of the same program on the host',
  async () => {
    const outside = join(at.cluster.shared, 'probe-mpich')
    copyFileSync(program, outside)
    const run = (...words: string[]) =>
      at.cluster.srun([...ON_FIRST, '-n2', '-N1', '--mpi=pmi2', ...words, 'node'], {
        env: { UCX_LOG_LEVEL: 'info' },
      })
    await comparePingPong('MPICH', {
      inside: () => run(`--container-image=${mpich}`, 'probe'),
      outside: () => run(outside),
      // What UCX chose for messages to the neighbour, as it says it.
      check: (seen) => says(seen, /UCX +INFO .* tag\(\w+\/memory cma\/memory\)/),
      roundsMin: 3,
    })
  },
)

test.run()
