// SPDX-License-Identifier: Apache-2.0
/** One import from the store's side: what an importer process is asked, and whose image it becomes. */
import { fstatSync } from 'node:fs'
import type { CredentialDocument } from '../image/credentials.js'
import type { ImageFacts } from '../image/facts.js'
import type { ImageReference } from '../image/image.js'
import { parseReference } from '../image/reference.js'
import {
  type Imported,
  type ImportOrder,
  type SignatureOrder,
  type SquashfsCheck,
  takeDigest,
  takeResolved,
} from '../image/wire.js'
import type { Native } from '../native.js'
import { type Fields, Tag } from '../worker/frame.js'
import type { Turns } from '../worker/turns.js'
import type { Access } from './access.js'
import { type Asking, askImport, askResolve, between, type Report, WAITING, withImporter } from './ask.js'
import { type Borrowed, borrow } from './borrow.js'
import type { FactsFiles } from './facts.js'
import { factsOf } from './frame_facts.js'
import type { ImporterProcess } from './importer.js'
import { land, withRoom } from './landing.js'
import type { ImporterPool } from './pool.js'
import { type Learned, placeOf, type StoreRecord } from './record.js'
import type { ReusePolicy } from './reuse.js'
import type { Shared, Wanted } from './shared/shared.js'
import type { Shelf } from './shelf.js'

/** Part of the key: another layout of the converted file is another file, and so is one with other owners. */
const FORMATS = { keep: 'f2', root: 'f2-root' } as const
/** Of files whose bytes depend on which images lent layers; with all layers sent they would be others. */
const REUSED_FORMATS = { keep: 'r2', root: 'r2-root' } as const

/** Ends of the keys of this layout: where all layers were sent, and where some were not. */
export function formatsOf({ owners }: Pick<ImportOrder, 'owners'>): string[] {
  return [`-${FORMATS[owners]}`, `-${REUSED_FORMATS[owners]}`]
}

/** All that tell their layers apart, whoever owns the files. */
const LENDING_FORMATS = [...formatsOf({ owners: 'keep' }), ...formatsOf({ owners: 'root' })]

/** An imported image before it has a name. */
export type Facts = Omit<Imported, 'problem'> & { passwd: string; group: string; facts?: ImageFacts }

export interface Intake {
  native: Native
  pool: ImporterPool
  shelf: Shelf
  facts: FactsFiles
  settings: ImportOrder
  insecure: string[]
  mirrors: string[]
  /** One conversion for all nodes, where the site has a place for it. */
  shared?: Shared
  /** Importers that one user may keep busy. */
  turns: Turns
  reuse: ReusePolicy
  signatures: (() => SignatureOrder) | undefined
  log: (line: string) => void
}

export interface WantedImage {
  reference: ImageReference
  digest: string
  access: Access
  credentials: CredentialDocument[]
}

/** The record of the image below `digest`, imported unless it is there. @throws BerthError, the signal's reason */
export async function importImage(
  intake: Intake,
  { reference, digest, access, credentials }: WantedImage,
  report: Report,
  signal: AbortSignal,
): Promise<StoreRecord> {
  const { shelf } = intake
  const place = placeOf(reference)
  return withRoom(shelf, (want) =>
    withImporter(intake, access.uid, signal, async (process) => {
      report({ ...WAITING, phase: 'resolving' })
      const asking = (slow: Asking) => report({ ...WAITING, phase: 'resolving', asking: slow })
      const frame = await askResolve(intake, process, reference, access, { credentials, digest, asking })
      const manifest = takeDigest(frame)
      const { open, bytes, layers } = takeResolved(frame)
      const learned: Learned = { digest, reference: reference.canonical, open }
      const known = shelf.byDigest(manifest)
      // A manifest alone proves nothing: anybody who has read one can serve it. Who gave the layers once may speak.
      const isAllowed = known !== undefined && (known.open || isOwn(known, place, access.uid))
      if (isAllowed && ((await intake.shared?.keeps(known)) ?? true)) {
        shelf.use(known, learned)
        return known
      }
      // A place that is to speak for a known image gives all of it.
      const policy = known === undefined && !isForAllNodes(intake, place) ? intake.reuse : 'off'
      const borrowed = borrow(shelf, { layers, place, uid: access.uid, policy }, LENDING_FORMATS)
      try {
        want(bytes)
        const own: Learned = { ...learned, ...(place === '' ? { owner: access.uid } : { place }) }
        const make = (tell: Report) =>
          landLayers(intake, process, { reference, manifest, access, borrowed, learned: own, report: tell })
        const key = keyOf(manifest, intake.settings, false)
        const record = await onceForAll(
          intake,
          { key, digest: manifest, place, learned, report, signal },
          make,
        )
        shelf.use(record, own)
        return record
      } finally {
        borrowed.release()
      }
    }),
  )
}

/** Files of a user's own are for this node only: nobody else can prove a right to them. */
function isForAllNodes({ shared }: Intake, place: string): boolean {
  return shared !== undefined && place !== ''
}

function onceForAll(
  { shared }: Intake,
  wanted: Wanted & { report: Report },
  make: (report: Report) => Promise<StoreRecord>,
): Promise<StoreRecord> {
  const { place, report } = wanted
  if (shared === undefined || place === '') return make(report)
  return shared.once(wanted, (tell) =>
    make((progress) => {
      tell(progress)
      report(progress)
    }),
  )
}

interface LayersOrder {
  reference: ImageReference
  manifest: string
  access: Access
  borrowed: Borrowed
  learned: Learned
  report: Report
}

async function landLayers(
  intake: Intake,
  process: ImporterProcess,
  { reference, manifest, access, borrowed, learned, report }: LayersOrder,
): Promise<StoreRecord> {
  const fields: Fields = [
    [Tag.REF, reference.canonical],
    [Tag.DIGEST, manifest],
  ]
  const opener = between(intake, reference, access)
  const record = await land(intake, process, manifest, {
    key: ({ reused }) => keyOf(manifest, intake.settings, reused > 0),
    importers: ({ reused }) => [...new Set([access.uid, ...(reused > 0 ? borrowed.importers : [])])],
    learned,
    ask: (fd) => askImport(intake, process, fields, [fd, ...borrowed.fds], report, opener, borrowed.layers),
  })
  if (record.reused > 0) intake.log(`${record.key} has ${record.reused} bytes of layers from stored images`)
  return record
}

function isOwn({ owners, places }: StoreRecord, place: string, uid: number): boolean {
  return place === '' ? owners.includes(uid) : places.includes(place)
}

function keyOf(manifest: string, settings: ImportOrder, reused: boolean): string {
  const [streamed, assembled] = formatsOf(settings)
  return `${manifest.replace(':', '-')}${reused ? assembled : streamed}`
}

/** A verified copy of a user's squashfs file. @throws BerthError, the signal's reason */
export function importSquashfs(
  intake: Intake,
  reference: ImageReference,
  key: string,
  source: number,
  access: Access,
  report: Report,
  signal: AbortSignal,
): Promise<StoreRecord> {
  return withRoom(intake.shelf, (want) =>
    withImporter(intake, access.uid, signal, (process) => {
      want(fstatSync(source).size)
      return land(intake, process, '', {
        key: () => key,
        importers: () => [access.uid],
        learned: {},
        ask: (fd) => askImport(intake, process, [[Tag.REF, reference.canonical]], [source, fd], report),
      })
    }),
  )
}

/** What a squashfs file that is mounted as it is says about itself. @throws BerthError */
export function inspectSquashfs(
  intake: Intake,
  reference: ImageReference,
  source: number,
  access: Access,
  facts: boolean,
): Promise<Facts> {
  const asked = { ...intake, settings: { ...intake.settings, facts } }
  return withImporter(intake, access.uid, undefined, async (process) => {
    return factsOf(await askImport(asked, process, [[Tag.REF, reference.canonical]], [source], () => {}))
  })
}

/** Reads all of a squashfs that nobody else can write; on one thread, beside the steps of users. @throws BerthError */
export function checkSquashfs(intake: Intake, source: number, signal: AbortSignal): Promise<SquashfsCheck> {
  const path = parseReference('/image.sqsh').canonical
  const settings: ImportOrder = { ...intake.settings, threads: 1, facts: false, check: true }
  return withImporter(intake, 0, signal, async (process) => {
    const facts = factsOf(
      await askImport({ ...intake, settings }, process, [[Tag.REF, path]], [source], () => {}),
    )
    return { size: facts.size, sha256: facts.sha256 ?? '' }
  })
}
