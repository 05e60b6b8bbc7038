// SPDX-License-Identifier: Apache-2.0
/** A warm start in a container with a name beside one without: task announced to task ended, on a node without Slurm. */
import { setImmediate } from 'node:timers/promises'
import { missingForNode, TestNode } from '../native/worker/node.js'
import { until } from '../native/worker/until.js'

const ROUNDS = 40

const missing = missingForNode()
if (missing !== undefined) {
  process.stdout.write(`named: skipped (${missing})\n`)
  process.exit(0)
}

const node = new TestNode()
node.startKeeper()

/** Milliseconds. */
async function start(options: string[]): Promise<number> {
  const step = node.step({ options: [`container-image=${node.image}`, ...options] })
  await step.isRegistered()
  await until('readiness', () => node.leases().length === 1)
  const before = performance.now()
  step.start(0)
  // A wait of the tests' kind, 10 ms a time, would be all that is seen.
  while (!step.exits.has(0)) await setImmediate()
  const took = performance.now() - before
  if (step.exits.get(0) !== 0) throw new Error(step.stderr)
  step.end()
  await until('release', () => node.leases().length === 0)
  return took
}

function median(times: number[]): string {
  const sorted = times.sort((left, right) => left - right)
  return `${(sorted[Math.floor(sorted.length / 2)] ?? 0).toFixed(1)} ms, best ${(sorted[0] ?? 0).toFixed(1)}`
}

const kinds: Record<string, string[]> = {
  plain: [],
  writable: ['container-writable=1'],
  'writable on disk': ['container-writable=disk:1G'],
  named: ['container-name=bench'],
}
const times = Object.fromEntries(Object.keys(kinds).map((name) => [name, [] as number[]]))
for (let round = 0; round <= ROUNDS; round++) {
  for (const [name, options] of Object.entries(kinds)) {
    const took = await start(options)
    // The first round makes what the others find.
    if (round > 0) times[name]?.push(took)
  }
}
for (const [name, list] of Object.entries(times)) process.stdout.write(`${name}: ${median(list)}\n`)
await node.stop()
