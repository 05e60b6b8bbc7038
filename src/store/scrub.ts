// SPDX-License-Identifier: Apache-2.0
/** Are the images still what they were: each read whole by an importer, since root parses nothing. */
import { closeSync, openSync } from 'node:fs'
import type { SquashfsCheck } from '../image/wire.js'
import { BerthError, messageOf } from '../report/errors.js'
import { checkSquashfs, type Intake } from './intake.js'
import type { StoreRecord } from './record.js'
import type { Shared } from './shared/shared.js'

export interface Scrubbed {
  key: string
  reference: string
  size: number
  /** unchecked: the check itself failed. */
  outcome: 'ok' | 'damaged' | 'unchecked'
  problem?: string
  removed: boolean
}

export interface ScrubTurn {
  signal: AbortSignal
  /** Told before each image. */
  progress(image: string, size: number): void
}

interface Subject {
  key: string
  reference: string
  size: number
  /** As it was when somebody last read all of it. */
  sha256?: string | undefined
  /** Owned by the receiver. */
  open(): Promise<number> | number
  learn(sha256: string): void
  remove(): Promise<unknown> | unknown
}

/** @param remove also what steps use: they keep what they have mounted, and later ones import it anew */
export async function scrubImages(
  intake: Intake,
  subjects: readonly Subject[],
  remove: boolean,
  turn: ScrubTurn,
): Promise<Scrubbed[]> {
  const rows: Scrubbed[] = []
  for (const subject of subjects) {
    turn.signal.throwIfAborted()
    const { key, reference, size } = subject
    turn.progress(reference === '' ? key : reference, size)
    const { outcome, problem } = await check(intake, subject, turn.signal)
    const removed = outcome === 'damaged' && remove
    if (removed) await subject.remove()
    rows.push({ key, reference, size, outcome, removed, ...(problem === undefined ? {} : { problem }) })
  }
  return rows
}

/** Of the node's own store. */
export function ownSubjects(
  { shelf }: Intake,
  records: readonly StoreRecord[],
  retire: (key: string) => void,
): Subject[] {
  // What lies in the shared store is that one's to check.
  const own = records.filter(({ shared }) => shared !== true)
  return own.map((record) => ({
    ...{ key: record.key, size: record.size, sha256: record.sha256, reference: record.references[0] ?? '' },
    open: () => openSync(record.path, 'r'),
    learn: (sha256) => shelf.note(record.key, { sha256 }),
    remove: () => {
      retire(record.key)
      shelf.remove(record.key)
    },
  }))
}

export async function sharedSubjects(
  shared: Shared,
  shelf: Intake['shelf'],
  retire: (key: string) => void,
): Promise<Subject[]> {
  return (await shared.list()).map((row) => ({
    ...row,
    open: () => shared.open(row.key),
    learn: () => undefined,
    remove: async () => {
      await shared.remove([row.key])
      if (shelf.byKey(row.key)?.shared !== true) return
      retire(row.key)
      shelf.remove(row.key)
    },
  }))
}

async function check(
  intake: Intake,
  { sha256, size, open, learn }: Subject,
  signal: AbortSignal,
): Promise<Pick<Scrubbed, 'outcome' | 'problem'>> {
  try {
    const fd = await open()
    const found: SquashfsCheck = await checkSquashfs(intake, fd, signal).finally(() => closeSync(fd))
    if (found.size !== size)
      return { outcome: 'damaged', problem: `has ${found.size} bytes instead of ${size}` }
    if (sha256 !== undefined && found.sha256 !== sha256)
      return { outcome: 'damaged', problem: 'its bytes have changed since it was last read' }
    if (sha256 === undefined) learn(found.sha256)
    return { outcome: 'ok' }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof BerthError && error.code === 'BERTH_ESQUASHFS')
      return { outcome: 'damaged', problem: String(error.fields.problem) }
    return { outcome: 'unchecked', problem: messageOf(error) }
  }
}
