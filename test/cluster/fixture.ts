// SPDX-License-Identifier: Apache-2.0
/** One cluster, one registry and the images for a whole test file, taken down after it. */
import type { Suite } from '../suite.js'
import { type Cluster, type ClusterOptions, startCluster } from './cluster.js'
import { type PublishedImages, publishImages } from './images.js'
import { leftForGood } from './leftovers.js'
import { type Registry, startRegistry } from './registry.js'

export interface Fixture {
  readonly cluster: Cluster
  readonly registry: Registry
  readonly images: PublishedImages
}

/** Registers before and after; the returned object is filled when the first test runs. */
export function useCluster(test: Suite, options: ClusterOptions = {}): Fixture {
  const fixture: { -readonly [Key in keyof Fixture]?: Fixture[Key] } = {}
  test.before(async () => {
    fixture.cluster = await startCluster(options)
    fixture.registry = await startRegistry(fixture.cluster.undo)
    fixture.images = await publishImages(fixture.registry)
  })
  test.after(async () => {
    const cluster = fixture.cluster
    if (cluster === undefined) return
    await cluster.stop()
    const left = await leftForGood(cluster.dir)
    if (left.length > 0) throw new Error(`left behind by the cluster:\n${left.join('\n')}`)
  })
  return fixture as Fixture
}
