// SPDX-License-Identifier: Apache-2.0
/** Which images of the store lend their layers to a new one (docs/decisions/0016-layer-reuse.md). */
import type { StoredImage } from '../image/image.js'
import type { ReuseOrder } from '../image/wire.js'
import type { StoreRecord } from './record.js'

/** user: images that this user or root imported; all: anybody's; off: none. */
export type ReusePolicy = 'user' | 'all' | 'off'

/** Each is a descriptor in one frame of eight, and is listed once. */
const BASES_MAX = 4
/** An image is listed in the time in which this much is fetched and compressed. */
const GAIN_BYTES_MIN = 256 << 10

export interface NewImage {
  layers: StoredImage['layers']
  /** HOST/REPOSITORY, or '' for files. */
  place: string
  uid: number
  policy: ReusePolicy
}

interface Lent {
  records: StoreRecord[]
  layers: ReuseOrder[]
}

type Match = { layer: number; at: number; size: number }

/** As few images as give the most bytes; pure. `formats`: ends of the keys of images that tell their layers apart. */
export function chooseBases(
  records: readonly StoreRecord[],
  image: NewImage,
  formats: readonly string[],
): Lent {
  const lent: Lent = { records: [], layers: [] }
  const taken = new Set<number>()
  const usable = records.filter(
    (record) =>
      record.shared !== true &&
      formats.some((format) => record.key.endsWith(format)) &&
      isTrusted(record, image),
  )
  while (lent.records.length < BASES_MAX) {
    const best = pickBest(usable, image, taken)
    if (best === undefined) break
    const number = lent.records.push(best.record) - 1
    for (const { layer, at } of best.matches) {
      taken.add(layer)
      lent.layers.push({ layer, image: number, at, ask: best.ask })
    }
  }
  return lent
}

function pickBest(records: readonly StoreRecord[], image: NewImage, taken: ReadonlySet<number>) {
  let best: { record: StoreRecord; matches: Match[]; ask: boolean; bytes: number } | undefined
  for (const record of records) {
    const right = rightTo(record, image)
    if (right === 'none') continue
    const matches = matchLayers(record, image, taken)
    const bytes = matches.reduce((sum, { size }) => sum + size, 0)
    if (bytes < GAIN_BYTES_MIN || bytes < (best?.bytes ?? 0)) continue
    // Of equal ones that with the fewest other layers: those hide what is needed here.
    if (bytes === best?.bytes && record.layers.length >= best.record.layers.length) continue
    best = { record, matches, ask: right === 'ask', bytes }
  }
  return best
}

/** The contents of a layer that is there twice stand under the upper one. */
function matchLayers(record: StoreRecord, { layers }: NewImage, taken: ReadonlySet<number>): Match[] {
  return layers.flatMap(({ digest, diffId, size }, layer) => {
    if (digest === '' || diffId === '' || taken.has(layer)) return []
    const at = record.layers.map((own) => own.digest === digest && own.diffId === diffId).lastIndexOf(true)
    return at < 0 ? [] : [{ layer, at, size }]
  })
}

/** What an importer says about an image's layers is worth what those are worth who could have misled it. */
function isTrusted({ importers }: StoreRecord, { uid, policy }: NewImage): boolean {
  if (policy === 'off' || importers.length === 0) return false
  return policy === 'all' || importers.every((importer) => importer === uid || importer === 0)
}

/**
 * A manifest that names a layer is no right to it: everybody may have the image, or the registry that gave the layer
 * says now that it is this user's to pull. A file that the user had whole is only lent to further files.
 */
function rightTo(record: StoreRecord, { place, uid }: NewImage): 'free' | 'ask' | 'none' {
  if (record.open) return 'free'
  if (place === '') return record.owners.includes(uid) ? 'free' : 'none'
  return record.places.some((known) => hostOf(known) === hostOf(place)) ? 'ask' : 'none'
}

function hostOf(place: string): string {
  return place.slice(0, place.indexOf('/'))
}
