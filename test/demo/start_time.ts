// SPDX-License-Identifier: Apache-2.0
/** How long a step takes with and without a container, in interleaved runs so that drift hits both alike. */
import type { Cluster } from '../cluster/cluster.js'

/** Milliseconds of each run of `srun … true`. @throws Error when one fails. */
export async function timeStarts(
  cluster: Cluster,
  pairs: number,
  flags: readonly string[],
  step: readonly string[] = ['-n1'],
): Promise<{ bare: number[]; contained: number[] }> {
  const once = async (options: readonly string[]): Promise<number> => {
    const outcome = await cluster.srun([...step, ...options, '/bin/true'])
    if (outcome.code !== 0) throw new Error(`srun ${options.join(' ')}: ${outcome.output}`)
    return outcome.milliseconds
  }
  await once(flags)
  const bare: number[] = []
  const contained: number[] = []
  for (let index = 0; index < pairs; index++) {
    bare.push(await once([]))
    contained.push(await once(flags))
  }
  return { bare, contained }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
