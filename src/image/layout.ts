// SPDX-License-Identifier: Apache-2.0
/** An OCI image layout (image-spec image-layout.md): a directory or a tar, read file by file through `openFile`. */
import { closeSync } from 'node:fs'
import { BerthError } from '../report/errors.js'
import { type Descriptor, MANIFEST_BYTES_MAX, parseManifest, refuse } from './manifest.js'
import { choosePlatform, type HostPlatform } from './platform.js'
import { type ImageReader, type ManifestPlace, type OpenedImage, openImage } from './reader.js'
import { readSlice, type Slice, streamSlice } from './slice.js'

/** A file of the layout; `own`: its descriptor is closed after use, as nobody else has it. */
export type OpenFile = (name: string) => Promise<Slice & { own: boolean }>

const REF_NAME = 'org.opencontainers.image.ref.name'
/** docker save and nerdctl keep the full name here. */
const FULL_NAME = 'io.containerd.image.name'

export class LayoutReader implements ImageReader, ManifestPlace {
  /** The place is a user's file: who else may have the image is for the store to find out. */
  readonly open_to_all = false

  constructor(
    private readonly openFile: OpenFile,
    private readonly tag: string | undefined,
    private readonly host: HostPlatform,
  ) {}

  async resolve(): Promise<string> {
    const bytes = await this.readFile('index.json', MANIFEST_BYTES_MAX)
    const index = parseManifest(bytes, 'application/vnd.oci.image.index.v1+json')
    if (index.kind !== 'index') return refuse('its index.json is no index')
    const named = index.entries.filter(({ annotations }) => this.isNamed(annotations))
    if (named.length === 0 && this.tag !== undefined) {
      throw new BerthError('BERTH_EIMAGENOTFOUND', { problem: `no image with the tag ${this.tag} in it` })
    }
    const tags = new Set(named.map(({ annotations }) => annotations[REF_NAME]))
    if (this.tag === undefined && tags.size > 1) {
      refuse(`it holds several images, name one of the tags ${[...tags].slice(0, 12).join(', ')}`)
    }
    if (named.length === 1 && named[0] !== undefined) return named[0].digest
    return choosePlatform(named, this.host).digest
  }

  open(digest: string): Promise<OpenedImage> {
    return openImage(this, digest, this.host)
  }

  async manifest(digest: string): Promise<{ bytes: Uint8Array }> {
    return { bytes: await this.readFile(blobName(digest), MANIFEST_BYTES_MAX) }
  }

  blob(descriptor: Descriptor): Promise<Uint8Array> {
    return this.readFile(blobName(descriptor.digest), descriptor.size)
  }

  async *layer(layer: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const slice = await this.openFile(blobName(layer.digest))
    try {
      yield* streamSlice(slice, signal)
    } finally {
      if (slice.own) closeSync(slice.fd)
    }
  }

  private isNamed(annotations: Record<string, string>): boolean {
    if (this.tag === undefined) return true
    return annotations[REF_NAME] === this.tag || annotations[FULL_NAME]?.endsWith(`:${this.tag}`) === true
  }

  private async readFile(name: string, bytes_max: number): Promise<Buffer> {
    const slice = await this.openFile(name)
    try {
      if (slice.size > bytes_max) refuse(`its ${name} has over ${bytes_max} bytes`)
      return await readSlice(slice, 0, slice.size)
    } finally {
      if (slice.own) closeSync(slice.fd)
    }
  }
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`
}
