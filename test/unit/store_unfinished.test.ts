// SPDX-License-Identifier: Apache-2.0
/** Files of the store on their way, where a step of it fails: no room is lost, and no name stays. */
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { Native } from '../../src/native.js'
import { messageOf } from '../../src/report/errors.js'
import type { StoreRecord } from '../../src/store/record.js'
import { takeCopy } from '../../src/store/shared/copy.js'
import { Shelf } from '../../src/store/shelf.js'
import { openNameless, reserveStepFile } from '../../src/store/step_file.js'
import { suite } from '../suite.js'

const test = suite('store: unfinished files')
const QUOTA = 10

/** A store on a file system without O_TMPFILE, as NFS is. */
async function withStore(body: (shelf: Shelf, native: Native) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-unfinished-'))
  const native = {
    openTemporary(directory: string) {
      const name = join(directory, '.tmp-0')
      return { fd: openSync(name, 'wx+'), name }
    },
    closeFd: closeSync,
    reserveFor: async () => undefined,
  } as Partial<Native> as Native
  try {
    await body(new Shelf(folder, { quota: QUOTA, floor: 0 }, () => false), native)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const unfinished = ({ directory }: Shelf) => readdirSync(directory.temporary)

test('a file without a name has none there either', () =>
  withStore(async (shelf, native) => {
    const fd = openNameless(native, shelf)
    assert.equal(unfinished(shelf), [])
    assert.is(fstatSync(fd).nlink, 0)
    closeSync(fd)
  }))

test('a step that gets no file gives its room back', () =>
  withStore(async (shelf, native) => {
    const bytes = QUOTA
    const openTemporary = () => {
      throw Object.assign(new Error('EMFILE'), { code: 'EMFILE' })
    }
    const wanted = { uid: 1, bytes }
    assert.is(await reserveStepFile({ ...native, openTemporary }, shelf, wanted).catch(messageOf), 'EMFILE')
    const { fd, release } = await reserveStepFile(native, shelf, wanted)
    closeSync(fd)
    release()
  }))

test('a copy that is not what was published leaves nothing', () =>
  withStore(async (shelf, native) => {
    const record = { key: 'sha256-1-f1', size: 5 } as StoreRecord
    const outcome = await takeCopy<'damaged'>(native, shelf, record, async (fd) => {
      writeSync(fd, 'wrong')
      return 'damaged'
    })
    assert.is(outcome, 'damaged')
    assert.equal(unfinished(shelf), [])
  }))

test.run()
