// SPDX-License-Identifier: Apache-2.0
/** What the store asks an importer, and what the importer may ask back. */
import { join } from 'node:path'
import type { CredentialDocument } from '../image/credentials.js'
import type { ImageReference } from '../image/image.js'
import { mirrorsOf } from '../image/mirror_rules.js'
import {
  type Asking,
  type ReuseOrder,
  takeAsking,
  takeCount,
  takeDigest,
  takeImporting,
  takeResolved,
} from '../image/wire.js'
import { BerthError } from '../report/errors.js'
import { type Fields, type Frame, Tag, Type } from '../worker/frame.js'
import { type Access, openUserFile, readCredentials } from './access.js'
import type { Between, ImporterProcess } from './importer.js'
import type { Intake } from './intake.js'
import type { ImporterPool } from './pool.js'

/** Files of an image layout that an importer may ask for; nothing else below the user's directory. */
const LAYOUT_FILE = /^(index\.json|oci-layout|blobs\/sha256\/[0-9a-f]{64})$/

export interface ImportProgress {
  phase: 'waiting' | 'resolving' | 'importing' | 'finishing'
  /** Compressed bytes; total is 0 while unknown. */
  done: number
  total: number
  /** Layers that have arrived, of how many. */
  layer: number
  layers: number
  /** Another one, which does the work for this one too. */
  node?: string
  /** A directory that lets us wait. */
  silent?: string
  /** Compressed bytes of layers that other images lend; not in total. */
  reused?: number
  /** Nothing else has happened since. */
  asking?: Asking
}

export const WAITING: ImportProgress = { phase: 'waiting', done: 0, total: 0, layer: 0, layers: 0 }

export type { Asking } from '../image/wire.js'

export type Report = (progress: ImportProgress) => void

/** What the reference names now. @throws BerthError */
export async function askDigest(
  intake: Intake,
  reference: ImageReference,
  access: Access,
  asking: (asking: Asking) => void,
): Promise<{ digest: string; open: boolean }> {
  const credentials = await credentialsFor(intake, reference, access)
  return withImporter(intake, access.uid, undefined, async (process) => {
    const frame = await askResolve(intake, process, reference, access, { credentials, asking })
    return { digest: takeDigest(frame), open: takeResolved(frame).open }
  })
}

export function withImporter<T>(
  { pool, turns }: Intake,
  uid: number,
  signal: AbortSignal | undefined,
  use: (process: ImporterProcess) => Promise<T>,
): Promise<T> {
  return turns.take(uid, signal ?? new AbortController().signal, () => employ(pool, uid, signal, use))
}

/** Only an importer that has done nothing but resolve is kept. */
async function employ<T>(
  pool: ImporterPool,
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

/** Read before an importer is taken: a user's own programs may let us wait. */
export async function credentialsFor(
  { native, mirrors }: Intake,
  { source }: ImageReference,
  access: Access,
): Promise<CredentialDocument[]> {
  if (source.kind !== 'registry') return []
  return readCredentials(native, access, source, mirrorsOf(source, mirrors))
}

interface ResolveTurn {
  credentials: CredentialDocument[]
  digest?: string
  /** Told of a registry that lets us wait. */
  asking(asking: Asking): void
}

export async function askResolve(
  intake: Intake,
  process: ImporterProcess,
  reference: ImageReference,
  access: Access,
  { credentials, digest, asking }: ResolveTurn,
): Promise<Frame> {
  const { native, insecure, mirrors } = intake
  const { source } = reference
  const fields: Fields = [
    [Tag.REF, reference.canonical],
    ...(digest === undefined ? [] : ([[Tag.DIGEST, digest]] as const)),
    [Tag.DATA, JSON.stringify({ credentials, insecure, mirrors })],
  ]
  const opener: Between = {
    ...between(intake, reference, access),
    asking: (frame) => asking(takeAsking(frame)),
  }
  if (source.kind === 'dockerd') return process.ask(Type.RESOLVE, fields, [savedArchive(reference)], opener)
  const archive =
    source.kind === 'oci-archive' || source.kind === 'docker-archive'
      ? [await openUserFile(native, access, source.path)]
      : []
  try {
    return await process.ask(Type.RESOLVE, fields, archive, opener)
  } finally {
    for (const fd of archive) native.closeFd(fd)
  }
}

/** @throws BerthError BERTH_EDOCKERD where nobody has asked docker for it */
function savedArchive({ canonical, source }: ImageReference): number {
  if (source.kind === 'dockerd' && source.archive !== undefined) return source.archive
  const problem = 'it is no longer in the store of this node; run the step again'
  throw new BerthError('BERTH_EDOCKERD', { image: canonical, problem })
}

export async function askImport(
  { settings }: Intake,
  process: ImporterProcess,
  fields: Fields,
  fds: readonly number[],
  report: Report,
  opener: Between = {},
  reuse: ReuseOrder[] = [],
): Promise<Frame> {
  const data = JSON.stringify({ ...settings, reuse })
  const frame = await process.ask(Type.IMPORT, [...fields, [Tag.DATA, data]], fds, {
    ...opener,
    importing: (step) => {
      const done = takeCount(step.number(Tag.DONE))
      const total = takeCount(step.number(Tag.TOTAL))
      report({ phase: 'importing', done, total, ...takeImporting(step) })
    },
  })
  report({ ...WAITING, phase: 'finishing' })
  return frame
}

export function between({ native }: Intake, { source }: ImageReference, access: Access): Between {
  if (source.kind !== 'oci') return {}
  return {
    open: (name) => {
      if (!LAYOUT_FILE.test(name))
        throw new BerthError('BERTH_EIMPORTER', { problem: 'asked for another file' })
      return openUserFile(native, access, join(source.path, name))
    },
  }
}
