// SPDX-License-Identifier: Apache-2.0
/** The json beside a squashfs: the image as others see it, and what only the store needs to know. */
import type { ImageReference, StoredImage } from '../image/image.js'
import { parseData, takeConfig, takeCount, takeLayers, takeText, takeTexts } from '../image/wire.js'

export interface StoreRecord extends StoredImage {
  /** Other digests that lead here: the indexes that were asked for. */
  aliases: string[]
  /** Names under which it was asked for. */
  references: string[]
  /** HOST/REPOSITORY of each registry that gave all of it, layers too: only its word says who may have the image. */
  places: string[]
  /** Everybody may use it: it was pulled without credentials. */
  open: boolean
  /** Users who had all of it in a file of their own. */
  owners: number[]
  pinned: boolean
  entries: number
  /** Of the squashfs, where somebody has read it whole since it was made. */
  sha256?: string
  /** Users whose importers read what is in it, other images' that lent layers too; none: of an earlier version. */
  importers: number[]
  /** Compressed bytes of layers that other images lent. */
  reused: number
}

/** More names than these for one image tell nobody anything. */
const REFERENCES_MAX = 32
const CAPTURED_CHARS_MAX = 256 << 10

/** @throws BerthError when the file is not one of ours. */
export function parseRecord(text: string, key: string, path: string): StoreRecord {
  const json = parseData(text)
  const shared = json.shared === true
  return {
    key,
    path: shared ? takeText(json.path) : path,
    ...(shared ? { shared } : {}),
    ...(typeof json.sha256 === 'string' ? { sha256: takeText(json.sha256) } : {}),
    ...(typeof json.signer === 'string' ? { signer: takeText(json.signer) } : {}),
    digest: takeText(json.digest),
    size: takeCount(json.size),
    entries: takeCount(json.entries),
    config: takeConfig(json.config),
    passwd: takeText(json.passwd, CAPTURED_CHARS_MAX),
    group: takeText(json.group, CAPTURED_CHARS_MAX),
    layers: takeLayers(json.layers),
    created: takeCount(json.created),
    aliases: takeTexts(json.aliases),
    references: takeTexts(json.references),
    // Records of earlier versions have none: such a private image is fetched once more.
    places: takeTexts(json.places ?? []),
    open: json.open === true,
    owners: Array.isArray(json.owners) ? json.owners.map(takeCount) : [],
    pinned: json.pinned === true,
    importers: Array.isArray(json.importers) ? json.importers.map(takeCount) : [],
    reused: takeCount(json.reused ?? 0),
  }
}

export interface Learned {
  digest?: string
  reference?: string
  place?: string
  open?: boolean
  owner?: number
}

/** Where a reference is pulled from; '' for files. */
export function placeOf({ source }: ImageReference): string {
  return source.kind === 'registry' ? `${source.host}/${source.repository}` : ''
}

/** Adds what was learned; false: nothing new. */
export function learn(record: StoreRecord, { digest, reference, place, open, owner }: Learned): boolean {
  const state = () =>
    JSON.stringify([record.aliases, record.references, record.places, record.open, record.owners])
  const before = state()
  if (digest !== undefined && digest !== record.digest && !record.aliases.includes(digest))
    record.aliases.push(digest)
  if (reference !== undefined && !record.references.includes(reference)) {
    record.references = [reference, ...record.references].slice(0, REFERENCES_MAX)
  }
  if (place !== undefined && !record.places.includes(place)) record.places.push(place)
  if (open === true) record.open = true
  if (owner !== undefined && !record.owners.includes(owner)) record.owners.push(owner)
  return before !== state()
}
