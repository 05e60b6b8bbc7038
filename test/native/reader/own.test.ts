// SPDX-License-Identifier: Apache-2.0
/** What berth's own writer makes passes berth's own verifier, and the addon offers both. */
import * as assert from 'node:assert/strict'
import { closeSync, existsSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Native } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { Bench, build } from '../squash/workbench.js'
import { buildInspect, hasProgram, Lab, mountMissing, must } from './lab.js'

const test = suite('squashfs of berth')
const lab = new Lab(buildInspect())
const tree = lab.path('tree')
const missing = mountMissing
const addon = join(import.meta.dirname, '../../../dist/native.js')
const addonMissing = missing ?? (existsSync(addon) ? undefined : 'the built addon (npm run build)')
const toolMissing = addonMissing ?? (hasProgram('mksquashfs') ? undefined : 'squashfs-tools')

if (missing === undefined) must('sh', join(import.meta.dirname, 'tree.sh'), tree)

test.after(() => lab.close())

for (const keys of [
  {},
  { compressor: 'lz4' },
  { compressor: 'gzip' },
  { compressor: 'none' },
  { block: 4096 },
  { block: 1048576, level: 3 },
]) {
  test.needs(missing, `the writer with ${JSON.stringify(keys)} makes images that verify`, () => {
    const bench = new Bench(build())
    const layer = lab.path('layer.tar')
    must('sh', '-c', `tar --xattrs --xattrs-include='*' -C '${tree}' -cf '${layer}' . 2>/dev/null`)
    const image = lab.fresh()
    const outcome = bench.convert([layer], keys, image)
    bench.close()
    assert.equal(outcome.code, 0, outcome.error)
    const verified = lab.verify(image, 2)
    assert.equal(verified.status, 0, verified.stderr)
    assert.equal((JSON.parse(verified.stdout) as { entries: number }).entries, outcome.entries)
    const compared = lab.compare(image)
    assert.equal(compared.status, 0, compared.stdout)
  })
}

async function loadAddon(): Promise<Native> {
  return ((await import(addon)) as { native: Native }).native
}

/** An image in the middle of a file, as in a SIF, with rubbish around it. */
function makeWrapped(): { path: string; offset: number; image: Buffer } {
  const path = lab.path('plain-image')
  rmSync(path, { force: true })
  must('mksquashfs', tree, path, '-noappend', '-quiet', '-no-progress', '-comp', 'zstd', '-nopad')
  const image = readFileSync(path)
  const offset = 12345
  writeFileSync(path, Buffer.concat([Buffer.alloc(offset, 'x'), image, Buffer.alloc(77777, 'y')]))
  return { path, offset, image }
}

test.needs(toolMissing, 'a copy holds the image alone, padded, and verifies', async () => {
  const native = await loadAddon()
  const { path, offset, image } = makeWrapped()
  const from = openSync(path, 'r')
  const copy = lab.path('copy')
  const to = openSync(copy, 'w+')
  try {
    const size = await native.copySquashfs(from, to, { sizeMax: 2 ** 30, offset })
    assert.equal(size % 4096, 0)
    const copied = readFileSync(copy)
    assert.equal(copied.length, size)
    assert.ok(copied.subarray(0, image.length).equals(image))
    assert.ok(copied.subarray(image.length).every((byte) => byte === 0))
    const verified = await native.verifySquashfs(to, { threads: 2 })
    assert.deepEqual(
      { ...verified, entries: verified.entries > 3000, bytes: verified.bytes > 1e6 },
      { entries: true, bytes: true, size: image.length, compressor: 'zstd', blockSize: 131072 },
    )
    const files = await native.readSquashfs(from, ['etc/passwd']).catch((error) => error.code)
    assert.equal(files, 'EUCLEAN', 'no image at the start of the file')
    await assert.rejects(native.copySquashfs(from, to, { sizeMax: 1000, offset }), { code: 'EFBIG' })
    await assert.rejects(native.verifySquashfs(to, { entriesMax: 100 }), { code: 'EFBIG' })
    await assert.rejects(native.verifySquashfs(to, { bytesMax: 1000 }), { code: 'EFBIG' })
  } finally {
    closeSync(from)
    closeSync(to)
  }
})

test.needs(toolMissing, 'small files are read from an image, others left out', async () => {
  const native = await loadAddon()
  const { image } = makeWrapped()
  const path = lab.path('alone')
  writeFileSync(path, image)
  const fd = openSync(path, 'r')
  try {
    const files = await native.readSquashfs(fd, [
      'etc/passwd',
      '/absolute',
      'nowhere',
      'many',
      'big',
      'loop-a',
    ])
    assert.deepEqual(Object.keys(files).sort(), ['/absolute', 'etc/passwd'])
    assert.equal(files['/absolute']?.toString(), 'root:x:0:0:root:/root:/bin/sh\n')
    truncateSync(path, image.length - 5000)
    await assert.rejects(native.readSquashfs(fd, ['etc/passwd']), (error: NodeJS.ErrnoException) => {
      assert.equal(error.code, 'EUCLEAN')
      assert.match(error.message, /superblock at byte 40/)
      return true
    })
  } finally {
    closeSync(fd)
  }
})

test.run()
