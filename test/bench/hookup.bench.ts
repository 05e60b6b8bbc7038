// SPDX-License-Identifier: Apache-2.0
/**
 * What the node's MPI adds to a warm step: planning from the facts of an image with MPICH or Open MPI and of this node, and
 * the binds that the plan asks for, as the difference between namespaces with and without them in interleaved rounds.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { inspectImage } from '../../src/image/inspect.js'
import { gatherMpi } from '../../src/launch/host_mpi.js'
import { planHookup } from '../../src/plan/hookup.js'
import { type MpiImage, packagesFile } from '../cluster/mpi_images.js'
import { median } from '../demo/start_time.js'
import { type Bind, bind, Lab, missing } from '../native/ns/lab.js'
import { planInput } from '../unit/plan_input.js'

/** An Open MPI comes with a hundred names. */
const LINE_CHARS_MAX = 200
const PLANS = 501
/** Odd, so that a median is a measured value. */
const ROUNDS = 101

async function main(): Promise<void> {
  const lab = new Lab()
  await lab.start()
  try {
    for (const name of ['mpich-trixie', 'openmpi-bookworm'] as const)
      await measureBinds(lab, await measurePlan(lab, name))
  } finally {
    lab.stop()
  }
}

async function measurePlan(lab: Lab, name: MpiImage): Promise<Bind[]> {
  const image = lab.path(`${name}.sqsh`)
  const packing = ['-tar', '-comp', 'zstd', '-Xcompression-level', '1', '-quiet', '-no-progress']
  const tar = openSync(await packagesFile(name), 'r')
  execFileSync('mksquashfs', ['-', image, ...packing], { stdio: [tar, 'ignore', 'ignore'] })
  const fd = openSync(image, 'r')
  const facts = await inspectImage(lab.native, fd, 2)
  for (const one of [tar, fd]) closeSync(one)
  const { mpi, problems } = await gatherMpi(lab.native, { named: [], origin: 'this node' }, new Set())
  const input = {
    ...planInput({ facts, options: ['container-mpi=host'] }),
    host: { machine: 'x86_64', mpi, problems },
  }
  const times = Array.from({ length: PLANS }, () => timed(() => planHookup(input)))
  const { mounts, notes } = planHookup(input)
  for (const line of notes) print(`  ${line.slice(0, LINE_CHARS_MAX)}`)
  print(
    `${name}: plan: ${median(times).toFixed(3)} ms, ${mounts.length} mounts, ${facts.cache?.length ?? 0} entries of a cache`,
  )
  return mounts.flatMap((mount) =>
    mount.kind === 'bind' ? [bind(mount.source, mount.target, { ...mount, recursive: false })] : [],
  )
}

async function measureBinds(lab: Lab, binds: Bind[]): Promise<void> {
  const times: Record<'without' | 'with', number[]> = { without: [], with: [] }
  for (let round = 0; round < ROUNDS; round++)
    for (const [name, mounts] of [
      ['without', []],
      ['with', binds],
    ] as const) {
      const begin = performance.now()
      const built = await lab.build([...mounts])
      times[name].push(performance.now() - begin)
      lab.close(built)
    }
  const added = median(times.with) - median(times.without)
  print(
    `  namespaces: ${median(times.without).toFixed(2)} ms, with ${binds.length} binds ${added.toFixed(2)} ms more:`,
  )
  print(`  bind: ${(added / Math.max(1, binds.length)).toFixed(3)} ms`)
}

function timed(work: () => unknown): number {
  const begin = performance.now()
  work()
  return performance.now() - begin
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

const reason = missing()
if (reason === undefined) await main()
else print(`left out: ${reason}`)
