// SPDX-License-Identifier: Apache-2.0
/** One import from the store's side: an importer process, an unnamed file, and its name when all is well. */
import { fstatSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageReference } from '../image/image.js'
import {
  type Imported,
  type ImportOrder,
  takeCaptured,
  takeCount,
  takeDigest,
  takeImported,
  takeImporting,
  takeResolved,
} from '../image/wire.js'
import type { Native } from '../native.js'
import { BerthError } from '../report/errors.js'
import { type Fields, type Frame, Tag, Type } from '../worker/frame.js'
import { type Access, openUserFile, readCredentials } from './access.js'
import type { Between, ImporterPool, ImporterProcess } from './importer.js'
import type { StoreRecord } from './record.js'
import type { Shelf } from './shelf.js'

/** Part of the key: another layout of the converted file is another file. */
const FORMAT = 'f1'
/** Files of an image layout that an importer may ask for; nothing else below the user's directory. */
const LAYOUT_FILE = /^(index\.json|oci-layout|blobs\/sha256\/[0-9a-f]{64})$/

export type ImportSettings = Omit<ImportOrder, 'credentials' | 'insecure'>

export interface ImportProgress {
  phase: 'waiting' | 'resolving' | 'importing' | 'finishing'
  /** Compressed bytes; total is 0 while unknown. */
  done: number
  total: number
  /** Layers that have arrived, of how many. */
  layer: number
  layers: number
}

export interface Intake {
  native: Native
  pool: ImporterPool
  shelf: Shelf
  settings: ImportSettings
  insecure: string[]
}

/** What the reference names now. @throws BerthError */
export async function askDigest(
  intake: Intake,
  reference: ImageReference,
  access: Access,
): Promise<{ digest: string; open: boolean }> {
  return withImporter(intake, access.uid, undefined, async (process) => {
    const frame = await askResolve(intake, process, reference, access, undefined)
    return { digest: takeDigest(frame), open: takeResolved(frame).open }
  })
}

/** The record of the image below `digest`, imported unless it is there. @throws BerthError, the signal's reason */
export async function importImage(
  intake: Intake,
  reference: ImageReference,
  digest: string,
  access: Access,
  report: (progress: ImportProgress) => void,
  signal: AbortSignal,
): Promise<StoreRecord> {
  const { shelf } = intake
  for (let attempt = 0; ; attempt++) {
    let wanted = 0
    try {
      return await withImporter(intake, access.uid, signal, async (process) => {
        report({ phase: 'resolving', done: 0, total: 0, layer: 0, layers: 0 })
        const frame = await askResolve(intake, process, reference, access, digest)
        const manifest = takeDigest(frame)
        const { open, bytes } = takeResolved(frame)
        wanted = bytes
        const learned = { digest, reference: reference.canonical, open }
        const known = shelf.byDigest(manifest)
        // Whoever fetched the manifest from a registry may have the image; a file of one's own proves less.
        if (
          known !== undefined &&
          (reference.source.kind === 'registry' || known.owners.includes(access.uid))
        ) {
          shelf.use(known, learned)
          return known
        }
        shelf.collect(bytes)
        const record = await convertInto(intake, process, reference, manifest, access, report)
        shelf.use(record, learned)
        return record
      })
    } catch (error) {
      if (!isNoSpace(error)) throw error
      const freed = shelf.collect(wanted, Math.max(wanted, 1))
      if (attempt > 0 || freed.length === 0) {
        throw new BerthError('BERTH_ESPACE', { path: shelf.directory.path, bytes: wanted }, { cause: error })
      }
    }
  }
}

/** Only an importer that has done nothing but resolve is kept. */
async function withImporter<T>(
  { pool }: Intake,
  uid: number,
  signal: AbortSignal | undefined,
  use: (process: ImporterProcess) => Promise<T>,
): Promise<T> {
  const process = pool.take(uid)
  const stop = () => void process.end()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    const result = await use(process)
    pool.give(process)
    return result
  } catch (error) {
    await process.end()
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

async function askResolve(
  intake: Intake,
  process: ImporterProcess,
  reference: ImageReference,
  access: Access,
  digest: string | undefined,
): Promise<Frame> {
  const { native, insecure } = intake
  const { source } = reference
  const credentials = source.kind === 'registry' ? await readCredentials(native, access) : []
  const fields: Fields = [
    [Tag.REF, reference.canonical],
    ...(digest === undefined ? [] : ([[Tag.DIGEST, digest]] as const)),
    [Tag.DATA, JSON.stringify({ credentials, insecure })],
  ]
  const archive =
    source.kind === 'oci-archive' || source.kind === 'docker-archive'
      ? [await openUserFile(native, access, source.path)]
      : []
  try {
    return await process.ask(Type.RESOLVE, fields, archive, between(intake, reference, access))
  } finally {
    for (const fd of archive) native.closeFd(fd)
  }
}

async function convertInto(
  intake: Intake,
  process: ImporterProcess,
  reference: ImageReference,
  digest: string,
  access: Access,
  report: (progress: ImportProgress) => void,
): Promise<StoreRecord> {
  const { native, shelf } = intake
  const { fd, name } = native.openTemporary(shelf.directory.temporary)
  try {
    const frame = await askImport(intake, process, reference, digest, access, fd, report)
    const imported = takeImported(frame)
    report({
      phase: 'finishing',
      done: 1,
      total: 1,
      layer: imported.layers.length,
      layers: imported.layers.length,
    })
    // The importer held the file open: it must be gone before the file gets its name.
    await process.end()
    if (fstatSync(fd).size !== imported.size) {
      throw new BerthError('BERTH_EIMPORTER', { problem: 'wrote another file than it says' })
    }
    const key = `${digest.replace(':', '-')}-${FORMAT}`
    await native.publish(fd, shelf.directory.imagePath(key), name)
    const record = makeRecord(key, digest, imported, frame, shelf)
    if (reference.source.kind !== 'registry') record.owners.push(access.uid)
    shelf.add(record)
    return record
  } catch (error) {
    await process.end()
    if (name !== undefined) await unlink(join(shelf.directory.temporary, name)).catch(() => {})
    throw error
  } finally {
    native.closeFd(fd)
  }
}

function askImport(
  intake: Intake,
  process: ImporterProcess,
  reference: ImageReference,
  digest: string,
  access: Access,
  fd: number,
  report: (progress: ImportProgress) => void,
): Promise<Frame> {
  const order = { ...intake.settings, credentials: [], insecure: intake.insecure }
  const fields: Fields = [
    [Tag.REF, reference.canonical],
    [Tag.DIGEST, digest],
    [Tag.DATA, JSON.stringify(order)],
  ]
  return process.ask(Type.IMPORT, fields, [fd], {
    ...between(intake, reference, access),
    importing: (frame) => {
      const done = takeCount(frame.number(Tag.DONE))
      const total = takeCount(frame.number(Tag.TOTAL))
      report({ phase: 'importing', done, total, ...takeImporting(frame) })
    },
  })
}

function between({ native }: Intake, { source }: ImageReference, access: Access): Between {
  if (source.kind !== 'oci') return {}
  return {
    open: (name) => {
      if (!LAYOUT_FILE.test(name))
        throw new BerthError('BERTH_EIMPORTER', { problem: 'asked for another file' })
      return openUserFile(native, access, join(source.path, name))
    },
  }
}

function makeRecord(
  key: string,
  digest: string,
  imported: Imported,
  frame: Frame,
  shelf: Shelf,
): StoreRecord {
  return {
    ...{ key, digest, path: shelf.directory.imagePath(key) },
    ...{ size: imported.size, entries: imported.entries, config: imported.config, layers: imported.layers },
    passwd: takeCaptured(frame, 'etc/passwd'),
    group: takeCaptured(frame, 'etc/group'),
    created: Math.floor(Date.now() / 1000),
    ...{ aliases: [], references: [], open: false, owners: [], pinned: false },
  }
}

function isNoSpace(error: unknown): boolean {
  if (error instanceof BerthError) return error.code === 'BERTH_ESPACE'
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  return code === 'ENOSPC' || code === 'EDQUOT'
}
