// SPDX-License-Identifier: Apache-2.0
/** The demo: each command is shown as a user would type it, with its real output; all is cleaned up after. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type Cluster, startCluster } from '../cluster/cluster.js'
import { run } from '../cluster/command.js'
import { buildImages, hostRelease, otherRelease, publishImages } from '../cluster/images.js'
import { leftForGood } from '../cluster/leftovers.js'
import { compileProbe, publishMpi } from '../cluster/mpi_images.js'
import { type Registry, startRegistry } from '../cluster/registry.js'
import { removeUsers, USER_A } from '../cluster/users.js'
import { hasProgram } from '../native/reader/lab.js'
import { clusterOptionsFor, endsWithDemo, installFor, isStandIn } from './engine.js'
import { median, timeStarts } from './start_time.js'
import { writeStopScript } from './stop_script.js'
import { makeTerminal, type Terminal } from './terminal.js'

const { values } = parseArgs({
  options: { keep: { type: 'boolean', default: false }, engine: { type: 'string' } },
})

/** Interleaved pairs of a bare and a contained start; the medians are shown. */
const START_PAIRS = 9

async function demo(): Promise<number> {
  const outlive = values.keep
  const options = clusterOptionsFor(values.engine)
  if (outlive && endsWithDemo(values.engine))
    throw new Error(`--keep with ${values.engine}: what plays or serves it ends with the demo`)
  const knewUser = (await run(['id', USER_A.name])).code === 0
  const say = (text: string): void => void process.stdout.write(`${text}\n`)
  say(
    `building images from Debian packages (this host is ${hostRelease()}, the image will be ${otherRelease()})`,
  )
  await buildImages()
  const cluster = await startCluster({ outlive, ...options })
  await installFor(values.engine, cluster)
  const registry = await startRegistry(cluster.undo, { outlive })
  const images = await publishImages(registry)
  say(`two Slurm nodes and a registry are up below ${cluster.dir}`)
  say(isStandIn(values.engine) ? `${values.engine} is not in Debian: steps run in a stand-in\n` : '')
  const terminal = makeTerminal(cluster)
  await showSteps(terminal, images.debian)
  await showMpi(terminal, registry)
  await showTimes(cluster, images.debian, say)
  if (outlive) {
    say(await keep(cluster, images.debian, knewUser))
    return terminal.failures
  }
  await cluster.stop()
  if (!knewUser) await removeUsers()
  const left = await leftForGood(cluster.dir)
  say(left.length === 0 ? 'all of it is gone again' : `left behind:\n${left.join('\n')}`)
  return terminal.failures + left.length
}

async function showSteps(terminal: Terminal, image: string): Promise<void> {
  const flags = flagsOf(image).join(' ')
  await terminal.type(`srun -N2 -n4 -l ${flags} grep PRETTY_NAME /etc/os-release`)
  terminal.note('the same again: the image is on both nodes now')
  await terminal.type(`srun -N2 -n4 -l ${flags} sh -c 'hello-tool this is task $SLURM_PROCID'`)
  terminal.note('a batch script that runs inside the image')
  await terminal.write(
    'job.sh',
    '#!/bin/bash\nsource /etc/os-release\necho "$PRETTY_NAME, as $(id -un), in $PWD"\n',
  )
  await terminal.type(`sbatch --wait -o job.out ${flags} job.sh`)
  await terminal.type('cat job.out')
  terminal.note('what would happen, and why; nothing runs')
  await terminal.type(
    `srun -n1 ${flags} --container-mounts=/usr/share:/data:ro --container-explain true | grep -A6 '"destination": "/data"'`,
  )
  terminal.note('a mistake is told with its cause and the next step')
  await terminal.type(`srun -n2 ${flags.replace(/:\w+( |$)/, ':no-such-tag$1')} true`, 'fails')
  await terminal.type(`srun -n1 ${flags} --container-mounts=/no/such/data:/data true`, 'fails')
}

function flagsOf(image: string): string[] {
  const engine = values.engine === undefined ? [] : [`--container-engine=${values.engine}`]
  return [`--container-image=${image}`, ...engine]
}

async function showMpi(terminal: Terminal, registry: Registry): Promise<void> {
  const [release, compiler] = ['trixie', 'mpicc.mpich'] as const
  if (!hasProgram(compiler)) return terminal.note(`MPI is not shown: there is no ${compiler} here`)
  const folder = mkdtempSync(join(tmpdir(), 'berth-demo-'))
  try {
    const programs = { ranks: await compileProbe(folder, compiler) }
    const flags = flagsOf(await publishMpi(registry, `mpich-${release}`, programs)).join(' ')
    terminal.note(
      `an MPI program of Debian ${release} over both nodes; the node's MPICH runs it in place of the image's`,
    )
    terminal.note('(UCX_TLS: both nodes are one machine here, which UCX would take for shared memory)')
    const start = `UCX_TLS=tcp,self srun -N2 -n2 --mpi=pmi2 ${flags}`
    await terminal.type(`${start} ranks`)
    terminal.note('why, and the mounts that do it')
    await terminal.type(
      `srun -n1 ${flags} --container-explain true | grep -E '"mpi: |"reason": ".*node.s MPI'`,
    )
    terminal.note("the image's own, when asked for")
    await terminal.type(`${start} --container-mpi=image ranks`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function showTimes(cluster: Cluster, image: string, say: (text: string) => void): Promise<void> {
  const { bare, contained } = await timeStarts(cluster, START_PAIRS, flagsOf(image))
  const [plain, inside] = [median(bare), median(contained)]
  say(
    `srun -n1 true, median of ${START_PAIRS}: bare ${plain.toFixed(0)} ms, in the image ${inside.toFixed(0)} ms\n`,
  )
}

async function keep(cluster: Cluster, image: string, knewUser: boolean): Promise<string> {
  const script = writeStopScript(cluster.dir, cluster.nodes, knewUser)
  return [
    'the cluster stays up; to use it:',
    `  export SLURM_CONF=${cluster.conf}`,
    `  setpriv --reuid=${USER_A.name} --regid=${USER_A.name} --init-groups bash`,
    `  srun -N2 --container-image=${image} cat /etc/os-release`,
    `to end it: bash ${script}`,
  ].join('\n')
}

// `npm run demo | head`: nobody reads on, so end and clean up as on any other interruption.
process.stdout.once('error', () => process.kill(process.pid, 'SIGTERM'))
process.stdout.on('error', () => {})
process.exit(await demo().then((failures) => (failures > 0 ? 1 : 0), fail))

function fail(error: Error): number {
  process.stderr.write(`demo: ${error.message}\n`)
  return 1
}
