// SPDX-License-Identifier: Apache-2.0
/**
 * How long an image takes after its last byte has come through a line that is slower than the work: 61,821 files and
 * directories in 13 layers, two of which are asked for again, since names that stay are linked to files that go. Medians
 * of rounds with an empty store each.
 */
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { median } from '../demo/start_time.js'
import { importers, Lab, pull } from '../native/import/fixture.js'
import { cudaLike, gccLike, pythonLike } from '../native/squash/lookalikes.js'
import { tar } from '../native/squash/tar_writer.js'
import { SlowFront } from '../native/worker/slow_front.js'
import { FakeRegistry, sha256 } from '../registry.js'

/** Odd, so that the median is a measured value. */
const ROUNDS = 3
const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip'

const lab = new Lab()
const registry = await FakeRegistry.start()
const front = await SlowFront.start(registry.host, true)
const tars = [...pythonLike(17), ...gccLike(25), ...cudaLike(25)].map((layer) => tar(...layer))
registry.putImage(
  tars.map((layer) => gzipSync(layer, { level: 1 })),
  { diffIds: tars.map(sha256), layerType: GZIP },
)
const bytes = [...registry.blobs.values()].reduce((sum, blob) => sum + blob.length, 0)

const arriving: number[] = []
const finishing: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  const store = await lab.open({ directory: join(lab.folder, `store${round}`) })
  const began = performance.now()
  await pull(store, `${front.host}/image:latest`)
  arriving.push(front.lastAt - began)
  finishing.push(performance.now() - front.lastAt)
  await store.close()
}
front.stop()
await registry.stop()
await lab.close()
if (importers().length > 0) throw new Error('importers that outlive the store')
process.stdout.write(
  `${(bytes / 1e6).toFixed(0)} MB of layers arrive in ${(median(arriving) / 1000).toFixed(1)} s; ` +
    `the image is in the store ${median(finishing).toFixed(0)} ms after the last byte\n`,
)
