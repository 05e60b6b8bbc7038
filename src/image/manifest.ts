// SPDX-License-Identifier: Apache-2.0
/** Manifests and indexes of OCI and Docker: raw bytes in, checked plain data out; pure. */
import { createHash } from 'node:crypto'
import { BerthError } from '../report/errors.js'

export const MANIFEST_BYTES_MAX = 4 << 20
export const CONFIG_BYTES_MAX = 8 << 20
/** No builder makes more (overlayfs allows 500 lower directories); each costs memory in the engine. */
const LAYERS_MAX = 500
const ENTRIES_MAX = 1000
/** 2^40: larger than any layer, still an exact number. */
const BLOB_BYTES_MAX = 2 ** 40

const OCI = 'application/vnd.oci.image.'
const DOCKER = 'application/vnd.docker.distribution.manifest.'
export const ACCEPT_MANIFESTS = [
  `${OCI}index.v1+json`,
  `${OCI}manifest.v1+json`,
  `${DOCKER}list.v2+json`,
  `${DOCKER}v2+json`,
].join(', ')

const KINDS: Record<string, 'index' | 'manifest'> = {
  [`${OCI}index.v1+json`]: 'index',
  [`${OCI}manifest.v1+json`]: 'manifest',
  [`${DOCKER}list.v2+json`]: 'index',
  [`${DOCKER}v2+json`]: 'manifest',
}
const CONFIG_TYPES = new Set([`${OCI}config.v1+json`, 'application/vnd.docker.container.image.v1+json'])
/** The label is only a hint, the engine sniffs; but what it cannot be is refused here by name. */
const LAYER_TYPE =
  /^application\/vnd\.(oci\.image\.layer(\.nondistributable)?\.v1\.tar|docker\.image\.rootfs\.(foreign\.)?diff\.tar)([.+](gzip|zstd))?$/
const DIGEST = /^sha256:[0-9a-f]{64}$/

export interface Descriptor {
  digest: string
  size: number
  mediaType: string
}

export interface Platform {
  os: string
  architecture: string
  variant: string
}

export interface IndexEntry extends Descriptor {
  /** Undefined: only the image's config will tell. */
  platform?: Platform
  annotations: Record<string, string>
}

export type Manifest =
  | { kind: 'index'; entries: IndexEntry[] }
  | { kind: 'manifest'; config: Descriptor; layers: Descriptor[] }

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/**
 * `contentType` is what the registry called it; the mediaType inside counts, but the two may not disagree on the kind.
 * @throws BerthError BERTH_EMANIFEST
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): Manifest {
  const json = parseJson(bytes, 'manifest')
  if (json.schemaVersion === 1 || 'fsLayers' in json || 'signatures' in json) {
    refuse('its manifest is of Docker schema 1, which has been dead since 2017')
  }
  if ('manifests' in json && 'layers' in json) refuse('its manifest claims to be an index as well')
  const inside = typeof json.mediaType === 'string' ? KINDS[json.mediaType] : undefined
  if (typeof json.mediaType === 'string' && inside === undefined) {
    refuse(`its manifest has the unknown type ${show(json.mediaType)}`)
  }
  const outside = KINDS[(contentType ?? '').split(';')[0]?.trim().toLowerCase() ?? '']
  if (inside !== undefined && outside !== undefined && inside !== outside) {
    refuse(`its manifest is sent as ${outside} but says that it is ${inside}`)
  }
  const kind = inside ?? outside ?? ('manifests' in json ? 'index' : 'manifest')
  return kind === 'index' ? parseIndex(json) : parseImage(json)
}

function parseIndex(json: Record<string, unknown>): Manifest {
  const list = json.manifests
  if (!Array.isArray(list)) refuse('its index lists no manifests')
  if (list.length > ENTRIES_MAX) refuse(`its index lists over ${ENTRIES_MAX} manifests`)
  return { kind: 'index', entries: list.map(takeEntry).filter((entry) => entry !== undefined) }
}

function takeEntry(value: unknown): IndexEntry | undefined {
  const descriptor = takeDescriptor(value, 'index entry')
  const { platform, artifactType, annotations } = value as Record<string, unknown>
  if (artifactType !== undefined) return undefined
  const entry: IndexEntry = { ...descriptor, annotations: takeStrings(annotations) }
  if (isObject(platform)) {
    entry.platform = {
      os: textOf(platform.os),
      architecture: textOf(platform.architecture),
      variant: textOf(platform.variant),
    }
  }
  return entry
}

function parseImage(json: Record<string, unknown>): Manifest {
  const config = takeDescriptor(json.config, 'config')
  if (!CONFIG_TYPES.has(config.mediaType)) {
    refuse(
      `it is no container image but an artifact of type ${show(textOf(json.artifactType) || config.mediaType)}`,
    )
  }
  if (config.size > CONFIG_BYTES_MAX) refuse(`its config has over ${CONFIG_BYTES_MAX >> 20} MiB`)
  const list = json.layers
  if (!Array.isArray(list) || list.length === 0) refuse('its manifest lists no layers')
  if (list.length > LAYERS_MAX) refuse(`it has over ${LAYERS_MAX} layers`)
  const layers = list.map((value) => takeDescriptor(value, 'layer'))
  for (const { mediaType } of layers) {
    if (mediaType.includes('encrypted')) refuse('its layers are encrypted, which is not supported')
    if (!LAYER_TYPE.test(mediaType)) refuse(`it has a layer of the unknown type ${show(mediaType)}`)
  }
  return { kind: 'manifest', config, layers }
}

function takeDescriptor(value: unknown, what: string): Descriptor {
  if (!isObject(value)) refuse(`its ${what} is malformed`)
  const { digest, size, mediaType } = value
  if (typeof digest !== 'string' || !DIGEST.test(digest)) refuse(`its ${what} has no sha256 digest`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0 || size > BLOB_BYTES_MAX) {
    refuse(`its ${what} has an impossible size`)
  }
  return { digest, size, mediaType: textOf(mediaType) }
}

/** @throws BerthError BERTH_EMANIFEST unless it is a JSON object. */
export function parseJson(bytes: Uint8Array, what: string): Record<string, unknown> {
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    throw new BerthError('BERTH_EMANIFEST', { problem: `its ${what} is no JSON` }, { cause: error })
  }
  if (!isObject(parsed)) refuse(`its ${what} is no JSON object`)
  return parsed
}

export function refuse(problem: string): never {
  throw new BerthError('BERTH_EMANIFEST', { problem })
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function takeStrings(value: unknown): Record<string, string> {
  if (!isObject(value)) return {}
  return Object.fromEntries(
    Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
  )
}

/** Foreign text in a message: short, on one line. */
function show(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text)
}
