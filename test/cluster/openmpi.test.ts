// SPDX-License-Identifier: Apache-2.0
/**
 * Open MPI of four Debian releases under PMIx (none of them was built with PMI2), on one node and over two; whose it is
 * where the node has one too.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { hasProgram } from '../native/reader/lab.js'
import { suite } from '../suite.js'
import { must, type Outcome } from './command.js'
import { lines, refuses, says } from './expect.js'
import { useCluster } from './fixture.js'
import { CACHE_DIR } from './images.js'
import { agrees, compileProbe, type MpiImage, notInSid, packagesFile, publishMpi } from './mpi_images.js'
import { comparePingPong } from './ping_pong.js'

const missing = hasProgram('mpicc.openmpi') ? '' : 'mpicc.openmpi'
const notInSidNow = missing || (await notInSid('openmpi-sid', 'libmpi.so.40'))
const test = suite('Open MPI in images')
mkdirSync(CACHE_DIR, { recursive: true })
/** Not in /tmp, of which each node here has its own. */
const installed = mkdtempSync(join(CACHE_DIR, 'own-installed-'))
const librariesOf = (name: MpiImage) => join(installed, name, 'usr/lib/x86_64-linux-gnu')
const at = useCluster(test, {
  nodes: [{ ownMachine: true }, { ownMachine: true }],
  berthConf: [
    ...(['openmpi-trixie', 'openmpi-sid'] as const).map((name) => [name, librariesOf(name)]),
    ['bare', join(installed, 'bare')],
  ]
    .map(([name, path]) => `[profile ${name}]\nmpi = ${path}\n`)
    .join(''),
})
const folder = mkdtempSync(join(tmpdir(), 'berth-openmpi-'))
let program = ''

/**
 * Both nodes have one network address, to which its module for routes knows no way, and UCX would try shared memory
 * between them.
 */
const ENV = { OMPI_MCA_btl_tcp_if_include: 'lo', OMPI_MCA_pml: 'ob1' }

test.before(async () => {
  if (missing === '') program = await compileProbe(folder, 'mpicc.openmpi')
})
test.after(() => {
  for (const path of [folder, installed]) rmSync(path, { recursive: true })
})

const published = new Map<MpiImage, Promise<string>>()

function image(name: MpiImage): Promise<string> {
  const reference = published.get(name) ?? publishMpi(at.registry, name, { probe: program })
  published.set(name, reference)
  return reference
}

function srun(
  reference: string,
  options: readonly string[],
  words: readonly string[],
  env: Record<string, string> = {},
): Promise<Outcome> {
  return at.cluster.srun(['--mpi=pmix', '-n2', ...options, `--container-image=${reference}`, ...words], {
    env: { ...ENV, ...env },
  })
}

/** The same program without a container, with the node's own Open MPI. */
async function onHost(): Promise<Outcome> {
  const path = join(at.cluster.shared, 'probe-openmpi')
  if (!existsSync(path)) copyFileSync(program, path)
  return at.cluster.srun(['--mpi=pmix', '-n2', ...ON_ONE, path, 'node'], { env: ENV })
}

const ON_ONE = ['-N1', '-w', 'n1']

for (const [name, version] of [
  ['openmpi-bullseye', /Open MPI v4\.1\.0/],
  ['openmpi-bookworm', /Open MPI v4\.1\.4/],
  ['openmpi-trixie', /Open MPI v5\.0/],
  ['openmpi-sid', /Open MPI v[5-9]\./],
] as const) {
  const needs = name === 'openmpi-sid' ? notInSidNow : missing
  test.needs(
    needs,
    `${name}: runs on one node, where ranks read each other's memory as fast as on the host`,
    async () => {
      const reference = await image(name)
      const inside = () => srun(reference, [...ON_ONE, '--container-mpi=image'], ['probe', 'node'])
      const seen = await inside()
      agrees(seen, 2, version)
      assert.equal(
        lines(seen)
          .filter((line) => line.startsWith('cma '))
          .sort(),
        ['cma from 0', 'cma from 1'],
      )
      await comparePingPong(name, { inside, outside: onHost })
    },
  )

  // 6.0 knows no way to a neighbour of the same address, whatever it is told.
  if (name === 'openmpi-sid') continue
  test.needs(missing, `${name}: runs over two nodes`, async () => {
    agrees(await srun(await image(name), ['-N2', '--container-mpi=image'], ['probe']), 2, version)
  })
}

test.needs(missing, 'four ranks, with the directories of PMIx where the user wants them', async () => {
  for (const base of ['/dev/shm', '/var/tmp']) {
    const options = [...ON_ONE, '-n4', '--container-mpi=image']
    const words = ['probe', 'node']
    const seen = await srun(await image('openmpi-bookworm'), options, words, { SLURM_PMIX_TMPDIR: base })
    agrees(seen, 4, /Open MPI v4\.1/)
  }
})

test.needs(
  missing,
  "an image's 4.1.0 gives way to the node's 4.1.4, with all of it, where that is asked for",
  async () => {
    // Its own glibc is older than the node's Open MPI wants.
    const reference = await publishMpi(at.registry, 'openmpi-bullseye', { probe: program }, [], 'none-trixie')
    const probe = (options: readonly string[]) => srun(reference, options, ['probe'])
    agrees(await probe(ON_ONE), 2, /Open MPI v4\.1\.0/)
    // MPICH of the same directory is meant.
    agrees(await probe([...ON_ONE, '--container-profile=mpich']), 2, /Open MPI v4\.1\.0/)
    agrees(await probe([...ON_ONE, '--container-profile=openmpi']), 2, /Open MPI v4\.1\.4/)
    const both = await probe(['-N2', '--container-mpi=host'])
    agrees(both, 2, /Open MPI v4\.1\.4/)
    says(both, /^mapped .*libmpi\.so\.40\.30\.0$/m)
    // The image's mpirun, on the node's layers; the texts of messages, which this image was stripped of, come too.
    const alone =
      'export OMPI_MCA_plm=isolated; for v in $(env | grep -oE "^(PMIX?|SLURM)_[A-Z_0-9]*"); do unset $v; done; '
    const script = `${alone} mpirun.openmpi --oversubscribe -n 2 probe; ls /usr/share/openmpi/help-mca-base.txt`
    const within = await srun(reference, [...ON_ONE, '-n1', '--container-mpi=host'], ['sh', '-c', script])
    agrees(within, 2, /Open MPI v4\.1\.4/)
    says(within, /help-mca-base\.txt$/m)
  },
)

test.needs(missing, "Open MPI 5 is not taken for the node's 4.1, though both are libmpi.so.40", async () => {
  const options = [...ON_ONE, '--container-mpi=host']
  refuses(
    await srun(await image('openmpi-trixie'), options, ['probe']),
    /BERTH_EMPI.*it has no libopen-pal\.so\.80 .*it is libopen-pal\.so\.40 and libopen-rte\.so\.40/,
  )
})

/** As an installation with a prefix of its own: each library knows the others by its RUNPATH. */
async function install(name: MpiImage): Promise<void> {
  mkdirSync(join(installed, name), { mode: 0o755 })
  await must(['tar', '-C', join(installed, name), '-xf', await packagesFile(name), './usr/lib'])
  const script =
    'cd "$0"; find . pmix2/lib -maxdepth 1 -type f -name \'lib*.so*\' ! -name \'libc.so*\' | xargs patchelf --set-rpath "$0"'
  await must(['sh', '-ec', script, librariesOf(name)])
}

for (const [name, version] of [
  ['openmpi-trixie', /Open MPI v5\.0/],
  ['openmpi-sid', /Open MPI v[6-9]\./],
] as const) {
  const needs = (name === 'openmpi-sid' ? notInSidNow : missing) || (hasProgram('patchelf') ? '' : 'patchelf')
  test.needs(
    needs,
    `${name} of the node, which a profile names, takes the place of the image's`,
    async () => {
      await install(name)
      const { ino } = statSync(join(librariesOf(name), 'libmpi.so.40'))
      const own = (outcome: Outcome) =>
        lines(outcome)
          .filter((line) => /^file \d+ .*\/libmpi\.so/.test(line))
          .map((line) => line.startsWith(`file ${ino} `))
      const run = (...options: string[]) =>
        image(name).then((reference) => srun(reference, options, ['probe', 'files']))
      const kept = await run(...ON_ONE)
      agrees(kept, 2, version)
      assert.equal(own(kept), [false, false])
      const replaced = await run(...ON_ONE, `--container-profile=${name}`)
      agrees(replaced, 2, version)
      assert.equal(own(replaced), [true, true])
    },
  )
}

test.needs(missing, 'an Open MPI 4 of the node whose modules are elsewhere is not used', async () => {
  mkdirSync(join(installed, 'bare'), { mode: 0o755 })
  copyFileSync('/usr/lib/x86_64-linux-gnu/libmpi.so.40', join(installed, 'bare/libmpi.so.40'))
  const options = [...ON_ONE, '--container-mpi=host', '--container-profile=bare']
  const reference = await image('openmpi-bookworm')
  refuses(await srun(reference, options, ['probe']), /BERTH_EMPI.*its modules were not found/)
})

/** Ring, broadcast, sum, and the rank that Slurm gave. */
const SUM = `import os
from mpi4py import MPI
c = MPI.COMM_WORLD
c.Barrier()
left = c.sendrecv(c.rank, (c.rank + 1) % c.size, source=(c.rank - 1) % c.size)
print(c.rank, c.size, left, c.bcast(7 if c.rank == 0 else None), c.allreduce(c.rank + 1), os.environ['PMIX_RANK'], flush=True)
`

test.needs(missing, 'mpi4py over two nodes, and with eight ranks on one', async () => {
  const script = join(at.cluster.shared, 'sum.py')
  writeFileSync(script, SUM)
  const run = async (options: readonly string[]) =>
    srun(
      await image('openmpi-trixie'),
      [...options, `--container-mounts=${script}:/sum.py`],
      ['python3.13', '/sum.py'],
    )
  const seen = await run(['-N2', '-n4'])
  assert.equal(lines(seen).sort(), ['0 4 3 7 10 0', '1 4 0 7 10 1', '2 4 1 7 10 2', '3 4 2 7 10 3'])
  const eight = await run([...ON_ONE, '-n8', '--overcommit'])
  const ranks = Array.from({ length: 8 }, (_, rank) => `${rank} 8 ${(rank + 7) % 8} 7 36 ${rank}`)
  assert.equal(lines(eight).sort(), ranks)
})

test.run()
