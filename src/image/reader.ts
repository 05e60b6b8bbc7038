// SPDX-License-Identifier: Apache-2.0
/** What every place that holds images offers, and the walk from a digest to a checked image that they share. */
import { createHash } from 'node:crypto'
import { BerthError } from '../report/errors.js'
import { type ParsedConfig, parseConfig } from './config.js'
import { type Descriptor, digestOf, type Manifest, parseManifest, refuse } from './manifest.js'
import { checkPlatform, choosePlatform, type HostPlatform } from './platform.js'

/** image-spec allows any depth; nobody nests more than once. */
const INDEX_DEPTH_MAX = 3

export interface OpenedImage {
  /** Names the content: manifest digest, or config digest of a docker archive. */
  digest: string
  parsed: ParsedConfig
  /** Lowest first. `digest` is empty where only the diff id is known (docker-archive). */
  layers: Descriptor[]
}

export interface ImageReader {
  /** Digest that the reference names now: a manifest's or an index'. */
  resolve(): Promise<string>
  /** The image for this node's platform below that digest. */
  open(digest: string): Promise<OpenedImage>
  /** Bytes of a layer as stored; size and digest are the caller's to check (verified()). */
  layer(layer: Descriptor, signal?: AbortSignal): AsyncIterable<Uint8Array>
  /** Whether this user may have the layer from there now; where there is no such question, nobody may. */
  has?(layer: Descriptor): Promise<boolean>
  /** Whether everybody may have the image: nothing of the user was needed to get it. */
  readonly open_to_all: boolean
}

export interface ManifestPlace {
  manifest(digest: string): Promise<{ bytes: Uint8Array; contentType?: string | undefined }>
  blob(descriptor: Descriptor): Promise<Uint8Array>
}

/** Follows digest → (index →) manifest → config; every byte is checked against the digest that named it. */
export async function openImage(
  place: ManifestPlace,
  digest: string,
  host: HostPlatform,
): Promise<OpenedImage> {
  let current = digest
  for (let depth = 0; depth <= INDEX_DEPTH_MAX; depth++) {
    const { bytes, contentType } = await place.manifest(current)
    if (digestOf(bytes) !== current) throw mismatch('its manifest', current)
    const manifest: Manifest = parseManifest(bytes, contentType)
    if (manifest.kind === 'index') {
      current = choosePlatform(manifest.entries, host).digest
      continue
    }
    const raw = await place.blob(manifest.config)
    if (digestOf(raw) !== manifest.config.digest) throw mismatch('its config', manifest.config.digest)
    const parsed = parseConfig(raw, manifest.layers.length)
    checkPlatform({ os: parsed.os, architecture: parsed.config.architecture, variant: parsed.variant }, host)
    return { digest: current, parsed, layers: manifest.layers }
  }
  return refuse(`its index is nested over ${INDEX_DEPTH_MAX} deep`)
}

export function mismatch(object: string, digest: string): BerthError {
  return new BerthError('BERTH_EDIGEST', { object, digest })
}

/** Passes a layer on and ends with an error unless size and SHA-256 were the descriptor's. */
export async function* verified(
  stream: AsyncIterable<Uint8Array>,
  { digest, size }: Descriptor,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let seen = 0
  for await (const piece of stream) {
    seen += piece.length
    if (seen > size) throw broken(digest, `is longer than the ${size} bytes that the manifest says`)
    hash.update(piece)
    yield piece
  }
  if (seen < size) throw broken(digest, `ends after ${seen} of ${size} bytes`)
  if (digest !== '' && `sha256:${hash.digest('hex')}` !== digest) throw mismatch('a layer', digest)
}

export function broken(digest: string, problem: string, cause?: unknown): BerthError {
  return new BerthError('BERTH_ELAYER', { digest, problem }, { cause })
}
