// SPDX-License-Identifier: Apache-2.0
/** What an import writes to its disk: the image, once, and while it arrives. */
import { randomBytes } from 'node:crypto'
import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { makeTar } from '../../cluster/tar.js'
import { FakeRegistry, sha256 } from '../../registry.js'
import { suite } from '../../suite.js'
import { LoopDisk, missingFor } from '../loop_disk.js'
import { importers, Lab, missing, pull, until } from './fixture.js'

const test = suite('store: writing')
const needed = missing()
const MB = 1 << 20
const DISK_MEGABYTES = 128
/** The record and facts of the image, and the file system's own tables. */
const BESIDE_BYTES_MAX = 2 * MB
/** Of 26 MB of noise that can be seen: blocks that are compressed just then, and tables, are not there yet. */
const MOST_BYTES = 24 * MB

/** Noise has the same size when compressed. Of 36 MB 10 MB are hidden by upper layers. */
const noise = (megabytes: number) => randomBytes(megabytes * MB)
const LAYERS = [
  [
    { name: 'stays', content: noise(8) },
    { name: 'goes', content: noise(6) },
    { name: 'is replaced', content: noise(4) },
  ],
  [
    { name: 'is replaced', content: noise(8) },
    { name: 'words', content: 'of no weight '.repeat(MB) },
  ],
  [
    { name: '.wh.goes', content: '' },
    { name: 'top', content: noise(10) },
  ],
].map(makeTar)

let lab: Lab
let fake: FakeRegistry

test.before(async () => {
  if (needed !== undefined) return
  lab = new Lab()
  fake = await FakeRegistry.start()
  const layers = LAYERS.map((layer) => gzipSync(layer, { level: 1 }))
  fake.putImage(layers, {
    tag: 'noise',
    diffIds: LAYERS.map(sha256),
    layerType: 'application/vnd.oci.image.layer.v1.tar+gzip',
  })
})

test.after(async () => {
  if (needed !== undefined) return
  await fake.stop()
  await lab.close()
  assert.equal(importers(), [])
})

test.needs(needed ?? missingFor('ext4'), 'an image is written to disk once', async () => {
  const disk = new LoopDisk(lab.folder, 'ext4', DISK_MEGABYTES)
  const store = await lab.open({ directory: join(disk.path, 'store') })
  try {
    const before = disk.written()
    const { size } = await pull(store, `${fake.host}/x:noise`)
    const written = disk.written() - before
    assert.ok(size > 26 * MB && size < 28 * MB, `${size} bytes`)
    assert.ok(written >= size && written < size + BESIDE_BYTES_MAX, `${written} bytes for ${size}`)
  } finally {
    await store.close()
    disk.close()
  }
})

test.needs(needed, 'all but the end is written before the last bytes of the last layer come', async () => {
  const held = 64 << 10
  const base = [...fake.blobs].find(([, bytes]) => bytes.length > 17 * MB)
  if (base === undefined) throw new Error('no lowest layer')
  const [digest, bytes] = base
  let release = () => {}
  fake.before.push((request, response) => {
    if (request.method !== 'GET' || !request.url?.endsWith(`/blobs/${digest}`)) return undefined
    response.writeHead(200, { 'content-length': bytes.length })
    response.write(bytes.subarray(0, -held))
    release = () => response.end(bytes.subarray(-held))
    return true
  })
  const store = await lab.open()
  const importing = pull(store, `${fake.host}/x:noise`)
  importing.catch(() => undefined)
  try {
    await until('most of the image', () => unfinished(lab.directory) > MOST_BYTES)
    assert.equal(store.inventory.list(), [])
    release()
    const { size } = await importing
    assert.ok(size > MOST_BYTES && size < MOST_BYTES + 3 * MB, `${size} bytes`)
  } finally {
    fake.before.length = 0
    release()
    await store.close()
  }
})

/** Bytes in what importers write; it has no name before it is complete. */
function unfinished(directory: string): number {
  return Math.max(0, ...importers().flatMap((pid) => sizesBelow(directory, `/proc/${pid}/fd`)))
}

function sizesBelow(directory: string, fds: string): number[] {
  try {
    return readdirSync(fds)
      .map((fd) => join(fds, fd))
      .filter((path) => readlinkSync(path).startsWith(`${directory}/`))
      .map((path) => statSync(path).size)
  } catch {
    // It ended or closed one meanwhile: the next look tells.
    return []
  }
}

test.run()
