// SPDX-License-Identifier: Apache-2.0
/** A copied image whose files are all given to root: sound for the kernel, for our verifier and for unsquashfs. */
import assert from 'node:assert/strict'
import { chownSync, closeSync, existsSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Native } from '../../../src/native.js'
import { suite } from '../../suite.js'
import { hasProgram, Lab, mountMissing, must } from './lab.js'

const test = suite('owners of a copied image')
const lab = new Lab('')
const addon = join(import.meta.dirname, '../../../dist/native.js')
test.after(() => lab.close())
const built = existsSync(addon) ? undefined : 'npm run build'
const tools = ['mksquashfs', 'unsquashfs', 'setfattr'].filter((name) => !hasProgram(name))
const toolMissing = built ?? (tools.length === 0 ? mountMissing : tools.join(', '))

/** Enough owners for more than one block of the table. */
const MANY = 3000

async function loadAddon(): Promise<Native> {
  return ((await import(addon)) as { native: Native }).native
}

function makeTree(name: string, owners: number): string {
  const tree = lab.path(name)
  mkdirSync(join(tree, 'many'), { recursive: true })
  for (let index = 0; index < owners; index++) {
    const file = join(tree, 'many', String(index))
    writeFileSync(file, `${index}\n`)
    chownSync(file, 100_000 + index, 7)
  }
  must('setfattr', '-n', 'user.note', '-v', 'kept', join(tree, 'many', '0'))
  return tree
}

for (const [compressor, owners] of [
  ['zstd', 5],
  ['gzip', MANY],
  ['lz4', MANY],
  ['lzo', 5],
] as const) {
  test.needs(toolMissing, `${compressor}, ${owners} owners: all root's, the rest as it was`, async () => {
    const native = await loadAddon()
    const tree = makeTree(`tree-${compressor}`, owners)
    const image = lab.path(`image-${compressor}`)
    must('mksquashfs', tree, image, '-noappend', '-quiet', '-no-progress', '-comp', compressor)
    const copy = lab.path('copy')
    rmSync(copy, { force: true })
    const [from, to] = [openSync(image, 'r'), openSync(copy, 'w+')]
    try {
      const size = await native.copySquashfs(from, to, { sizeMax: 2 ** 30, owners: 'root' })
      assert.equal(size % 4096, 0)
      await native.verifySquashfs(to, {})
    } finally {
      closeSync(from)
      closeSync(to)
    }
    const seen = must('unsquashfs', '-lln', copy)
      .split('\n')
      .filter((line) => line.includes('squashfs-root'))
    assert.equal(seen.length, owners + 2)
    for (const line of seen) assert.match(line, /^\S+ 0\/0 /)
    const point = lab.path('point')
    mkdirSync(point, { recursive: true })
    must('mount', '-o', 'loop,ro', copy, point)
    try {
      assert.equal(must('stat', '-c', '%u:%g', join(point, 'many', String(owners - 1))).trim(), '0:0')
      assert.match(must('getfattr', '-d', join(point, 'many', '0')), /user.note="kept"/)
      must('diff', '-r', tree, point)
    } finally {
      must('umount', point)
    }
  })
}

test.run()
