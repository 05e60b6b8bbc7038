// SPDX-License-Identifier: Apache-2.0
/** Real MPI programs of other Debian releases over two nodes: whose library runs them, and that the answer is right. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import { hasProgram } from '../native/reader/lab.js'
import { suite } from '../suite.js'
import type { Outcome } from './command.js'
import { exits, lines, refuses, says } from './expect.js'
import { useCluster } from './fixture.js'
import { agrees, compileProbe, OVER_NODES, PROBE_OVER_NODES, publishMpi } from './mpi_images.js'

const missing = ['mpicc.mpich', 'mpicc.openmpi'].filter((name) => !hasProgram(name)).join(', ')
const test = suite('MPI of the node in images')
const at = useCluster(test, { berthConf: '[profile empty-mpi]\nmpi = /usr/share\n' })
const folder = mkdtempSync(join(tmpdir(), 'berth-mpi-'))
let mpich = ''
let oldMpich = ''
let openmpi = ''

test.before(async () => {
  if (missing !== '') return
  const probe = await compileProbe(folder, 'mpicc.mpich')
  mpich = await publishMpi(at.registry, 'mpich-trixie', { probe })
  oldMpich = await publishMpi(at.registry, 'mpich-bullseye', { probe })
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

test.needs(missing, "MPICH 4.2 of an image is replaced by the node's 4.0 on both nodes", async () => {
  const seen = await probe(mpich, ['-N2', '-n2', '--mpi=pmi2'])
  agrees(seen, 2, /MPICH Version: +4\.0\.2/)
  says(seen, /mapped .*libmpich\.so\.12\.4/)
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

test.needs(missing, 'ranks of a node read each other’s memory, as fast as on the host', async () => {
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
  const program = join(at.cluster.shared, 'probe-mpich')
  copyFileSync(join(folder, 'probe-mpich'), program)
  const outside = exits(await at.cluster.srun(['-n2', '-N1', '--mpi=pmi2', program, 'node']), 0)
  const speed = (outcome: Outcome) => /bandwidth .*/.exec(outcome.stdout)?.[0] ?? 'nothing'
  process.stdout.write(`ping-pong of 4 MiB: inside ${speed(inside)}, on the host ${speed(outside)}\n`)
})

test.run()
