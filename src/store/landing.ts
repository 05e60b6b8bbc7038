// SPDX-License-Identifier: Apache-2.0
/** The file of a new image: room for it, an unnamed file that an importer fills, and its name when all is well. */
import { fstatSync, statSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { BerthError } from '../report/errors.js'
import type { Frame } from '../worker/frame.js'
import { factsOf } from './frame_facts.js'
import type { ImporterProcess } from './importer.js'
import type { Facts, Intake } from './intake.js'
import { type Learned, learn, type StoreRecord } from './record.js'
import type { Shelf } from './shelf.js'

/** Makes room as far as is known before, and once more when the disk was full after all. */
export async function withRoom<T>(
  shelf: Shelf,
  attempt: (want: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  let wanted = 0
  const want = (bytes: number) => {
    wanted = bytes
    shelf.collect(bytes)
  }
  for (let tries = 0; ; tries++) {
    try {
      shelf.directory.make()
      return await attempt(want)
    } catch (error) {
      if (!isNoSpace(error)) throw asStoreError(error, shelf.directory.path)
      const freed = shelf.collect(wanted, Math.max(wanted, 1))
      if (tries > 0 || freed.length === 0) {
        throw new BerthError('BERTH_ESPACE', { path: shelf.directory.path, bytes: wanted }, { cause: error })
      }
    }
  }
}

interface Landing {
  key: (facts: Facts) => string
  importers: (facts: Facts) => number[]
  /** Who may have it stands in its first record: a worker that dies after it must not leave an image to nobody. */
  learned: Learned
  ask: (fd: number) => Promise<Frame>
}

/** An unnamed file, filled by the importer through `ask`; it gets its name when the importer is gone. */
export async function land(
  { native, shelf, log, facts: factsFiles }: Intake,
  process: ImporterProcess,
  digest: string,
  landing: Landing,
): Promise<StoreRecord> {
  const { fd, name } = native.openTemporary(shelf.directory.temporary)
  try {
    const { problem, facts: libraries, ...facts } = factsOf(await landing.ask(fd))
    if (problem !== '') log(`stored images could not lend layers to ${digest}: ${problem}`)
    // The importer held the file open for writing.
    await process.end()
    if (fstatSync(fd).size !== facts.size) {
      throw new BerthError('BERTH_EIMPORTER', { problem: 'wrote another file than it says' })
    }
    const key = landing.key(facts)
    const path = shelf.directory.imagePath(key)
    await native.publish(fd, path, name)
    const kept = shelf.byKey(key)
    // A file that was there stays, and what is known of it: made with other settings, it has another size.
    const { ino, size } = statSync(path)
    if (kept !== undefined && ino !== fstatSync(fd).ino) return kept
    const created = Math.floor(Date.now() / 1000)
    const unknown = { aliases: [], references: [], places: [], open: false, owners: [], pinned: false }
    const importers = landing.importers(facts)
    // The same image from another place: what is known of it stays.
    const before = shelf.byKey(key) ?? (digest === '' ? undefined : shelf.byDigest(digest))
    const record = { ...facts, size, key, digest, path, created, importers, ...unknown, ...known(before) }
    learn(record, landing.learned)
    if (libraries !== undefined) factsFiles.set(key, libraries)
    shelf.add(record)
    return record
  } catch (error) {
    await process.end()
    if (name !== undefined) await unlink(name).catch(() => {})
    throw error
  } finally {
    native.closeFd(fd)
  }
}

function known(record: StoreRecord | undefined): Partial<StoreRecord> {
  if (record === undefined) return {}
  const { aliases, references, places, open, owners, pinned } = record
  return structuredClone({ aliases, references, places, open, owners, pinned })
}

/** What a disk or its owner has done is no bug of ours: other nodes can run the step. */
function asStoreError(error: unknown, path: string): unknown {
  if (!(error instanceof Error && 'syscall' in error)) return error
  return new BerthError('BERTH_ESTORE', { path, problem: error.message }, { cause: error })
}

function isNoSpace(error: unknown): boolean {
  if (error instanceof BerthError) return error.code === 'BERTH_ESPACE'
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  return code === 'ENOSPC' || code === 'EDQUOT'
}
