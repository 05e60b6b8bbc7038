// SPDX-License-Identifier: Apache-2.0
/** A disk that is full on the way into the store: what goes for the sake of new images, what stays, and what is said. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { parseReference } from '../../../src/image/reference.js'
import type { Native } from '../../../src/native.js'
import { makeTar } from '../../cluster/tar.js'
import { failure } from '../../failure.js'
import { FakeRegistry } from '../../registry.js'
import { suite } from '../../suite.js'
import { LoopDisk, missingFor } from '../loop_disk.js'
import { ALICE, importers, Lab, listImage, missing, pull } from './fixture.js'

const test = suite('store: full disk')
const needed = missing()
const PAGE_BYTES = 4096

let lab: Lab
let fake: FakeRegistry

test.before(async () => {
  if (needed !== undefined) return
  lab = new Lab()
  fake = await FakeRegistry.start()
})

test.after(async () => {
  if (needed !== undefined) return
  await fake.stop()
  await lab.close()
  assert.equal(importers(), [])
})

test.needs(needed, 'a full disk: old images go, then the import is tried once more, then told', async () => {
  const disk = join(lab.folder, 'disk')
  mkdirSync(disk)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=5m', 'tmpfs', disk])
  const small = await lab.open({ directory: join(disk, 'store') })
  const realNow = Date.now
  try {
    const noise = [1, 2].map(() => makeTar([{ name: 'noise', content: randomBytes(3_000_000) }]))
    fake.putImage([noise[0] ?? Buffer.alloc(0)], { tag: 'one' })
    fake.putImage([noise[1] ?? Buffer.alloc(0)], { tag: 'two' })
    fake.putImage([makeTar([{ name: 'noise', content: randomBytes(8_000_000) }])], { tag: 'large' })
    const one = await pull(small, `${fake.host}/x:one`)
    // Fresh images are spared: an hour later this one may go.
    Date.now = () => realNow() + 3_600_000
    const two = await pull(small, `${fake.host}/x:two`)
    assert.equal(
      small.inventory.list().map(({ key }) => key),
      [two.key],
    )
    assert.is.not(one.key, two.key)
    const error = await failure(pull(small, `${fake.host}/x:large`))
    assert.is(error.code, 'BERTH_ESPACE')
    assert.match(error.message, `${disk}/store: 8001`)
    assert.equal(readdirSync(join(disk, 'store/tmp')), [])
  } finally {
    Date.now = realNow
    await small.close()
    execFileSync('umount', [disk])
  }
})

/** Not a byte is left, nor a place for one more name in `folder`. Answers how to undo it. */
function fillUp(disk: LoopDisk, folder: string): () => void {
  const filler = join(disk.path, 'filler')
  const fd = openSync(filler, 'w')
  const names: string[] = []
  const untilFull = (write: () => void) => {
    try {
      for (;;) write()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
  }
  for (const size of [65_536, 4096]) untilFull(() => writeSync(fd, Buffer.alloc(size)))
  fsyncSync(fd)
  for (const length of [200, 50, 8])
    untilFull(() => {
      const name = join(folder, String(names.length).padStart(length, 'x'))
      linkSync(filler, name)
      names.push(name)
    })
  return () => {
    closeSync(fd)
    for (const name of [...names, filler]) unlinkSync(name)
  }
}

test.needs(
  needed ?? missingFor('ext4'),
  'a disk that is full when an image gets its name or its record: those before stay, and it is told',
  async () => {
    const disk = new LoopDisk(lab.folder, 'ext4')
    const directory = join(disk.path, 'store')
    const images = join(directory, 'images')
    let full: { when: 'name' | 'record'; undo: () => void } | undefined
    const publish: Native['publish'] = async (...words) => {
      if (full?.when === 'name') full.undo = fillUp(disk, images)
      await lab.native.publish(...words)
      if (full?.when === 'record') full.undo = fillUp(disk, images)
    }
    const small = await lab.open({ directory, native: { ...lab.native, publish } })
    try {
      fake.putImage([makeTar([{ name: 'old', content: 'old' }])], { tag: 'old' })
      fake.putImage([makeTar([{ name: 'new', content: 'new' }])], { tag: 'new' })
      const old = await pull(small, `${fake.host}/x:old`)
      const before = readdirSync(images)
      for (const when of ['name', 'record'] as const) {
        full = { when, undo: () => assert.unreachable('nobody published') }
        const error = await failure(pull(small, `${fake.host}/x:new`))
        full.undo()
        full = undefined
        assert.is(error.code, 'BERTH_ESPACE')
        assert.match(error.message, `no space left in ${directory}: `)
        assert.match(error.hint, 'free space there, remove images with `berth rm`')
        assert.equal(readdirSync(images).sort(), before.sort(), when)
        assert.equal(readdirSync(join(directory, 'tmp')), [])
        assert.equal(listImage((await pull(small, `${fake.host}/x:old`)).path), { old: 'old' })
      }
      assert.is(small.inventory.list().length, 1)
      assert.equal(listImage((await pull(small, `${fake.host}/x:new`)).path), { new: 'new' })
      assert.is((await small.find(parseReference(`${fake.host}/x:old`), ALICE))?.key, old.key)
    } finally {
      await small.close()
      disk.close()
    }
  },
)

test.needs(
  needed,
  'a record that fits in part only is not taken for whole: the image outlives it',
  async () => {
    const disk = join(lab.folder, 'parts')
    mkdirSync(disk)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk])
    const directory = join(disk, 'store')
    const filler = join(disk, 'filler')
    try {
      // The record takes several pages; a write to a disk with room for one of them takes that one.
      const labels = { note: 'x'.repeat(3 * PAGE_BYTES) }
      fake.putImage([makeTar([{ name: 'kept', content: 'x' }])], {
        tag: 'kept',
        config: { config: { Labels: labels } },
      })
      const first = await lab.open({ directory })
      const { key, digest } = await pull(first, `${fake.host}/x:kept`)
      const fd = openSync(filler, 'w')
      try {
        for (;;) writeSync(fd, Buffer.alloc(PAGE_BYTES))
      } catch (error) {
        assert.is((error as NodeJS.ErrnoException).code, 'ENOSPC')
      } finally {
        closeSync(fd)
      }
      truncateSync(filler, statSync(filler).size - PAGE_BYTES)
      assert.throws(() => first.inventory.pin([digest], true), 'ENOSPC')
      assert.equal(
        first.inventory.list().map(({ pinned }) => pinned),
        [false],
      )
      await first.close()
      unlinkSync(filler)
      const second = await lab.open({ directory })
      assert.equal(
        second.inventory.list().map((image) => image.key),
        [key],
      )
    } finally {
      await lab.closeStores()
      execFileSync('umount', [disk])
    }
  },
)

test.needs(needed, 'an image whose record a failing disk keeps: the next one fits its file', async () => {
  const directory = join(lab.folder, 'errs')
  fake.putImage([makeTar([{ name: 'words', content: 'ab'.repeat(200_000) }])], { tag: 'errs' })
  const first = await lab.open({ directory, compressor: 'none' })
  const { key, path } = await pull(first, `${fake.host}/x:errs`)
  await first.close()
  const json = path.replace(/sqsh$/, 'json')
  unlinkSync(json)
  symlinkSync(json, json)
  const second = await lab.open({ directory, compressor: 'gzip' })
  assert.is((await pull(second, `${fake.host}/x:errs`)).size, statSync(path).size)
  await second.close()
  const third = await lab.open({ directory })
  assert.equal(
    third.inventory.list().map((one) => one.key),
    [key],
  )
  await third.close()
})

test.needs(needed, 'where files have names from the start, an import that fails leaves none', async () => {
  const directory = join(lab.folder, 'named')
  // As on NFS, which has no O_TMPFILE.
  const openTemporary: Native['openTemporary'] = (folder) => {
    const name = join(folder, `.tmp-${randomBytes(4).toString('hex')}`)
    return { fd: openSync(name, 'wx+'), name }
  }
  const named = await lab.open({ directory, native: { ...lab.native, openTemporary } })
  fake.putImage([Buffer.from('no tar '.repeat(1000))], { tag: 'bad' })
  fake.putImage([makeTar([{ name: 'good', content: 'x' }])], { tag: 'good' })
  assert.is((await failure(pull(named, `${fake.host}/x:bad`))).code, 'BERTH_ELAYER')
  assert.equal(readdirSync(join(directory, 'tmp')), [])
  assert.equal(listImage((await pull(named, `${fake.host}/x:good`)).path), { good: 'x' })
  assert.equal(readdirSync(join(directory, 'tmp')), [])
  await named.close()
})

test.run()
