// SPDX-License-Identifier: Apache-2.0
/** A registry that is read through its mirrors. */
import { BerthError } from '../report/errors.js'
import type { Fetcher } from './fetch.js'
import type { RegistrySource } from './image.js'
import { type Descriptor, digestOf } from './manifest.js'
import { mirrorsOf } from './mirror_rules.js'
import type { HostPlatform } from './platform.js'
import { type ImageReader, type ManifestPlace, mismatch, type OpenedImage, openImage } from './reader.js'
import { RegistryReader } from './registry.js'
import type { ResolveOrder } from './wire.js'

/** Told what a mirror failed with: the image comes from elsewhere, so that nobody else would hear of it. */
type TellMirror = (mirror: string, problem: string) => void

/** What any registry may say to anybody: the image or the right to it is elsewhere. */
const NOT_THERE = ['BERTH_EIMAGENOTFOUND', 'BERTH_EAUTH']

/** The reader of an image of a registry, with its mirrors where it has any. */
export function openRegistry(
  source: RegistrySource,
  { credentials, insecure, mirrors }: ResolveOrder,
  host: HostPlatform,
  fetchers: { registry: Fetcher; mirrors: Fetcher },
  tell: TellMirror,
): ImageReader {
  const read = (place: RegistrySource, fetcher: Fetcher) =>
    new RegistryReader(place, fetcher, host, credentials, insecure)
  const others = mirrorsOf(source, mirrors).map((place) => read(place, fetchers.mirrors))
  const registry = read(source, fetchers.registry)
  return others.length === 0 ? registry : new MirroredReader(others, registry, host, tell)
}

/**
 * Asks the mirrors first and the registry last; whatever a mirror fails with, the next one is asked, and one that
 * cannot be reached is left alone from then on. The registry's own failure is the one that is told.
 */
export class MirroredReader implements ImageReader, ManifestPlace {
  private readonly silent = new Set<RegistryReader>()

  constructor(
    private readonly mirrors: readonly RegistryReader[],
    private readonly registry: RegistryReader,
    private readonly host: HostPlatform,
    private readonly tell: TellMirror = () => undefined,
  ) {}

  /** Only if none of them would be shown a login: which one gives the layers is not known before. */
  get open_to_all(): boolean {
    return [...this.mirrors, this.registry].every((reader) => reader.open_to_all)
  }

  resolve(): Promise<string> {
    return this.first((reader) => reader.resolve())
  }

  open(digest: string): Promise<OpenedImage> {
    return openImage(this, digest, this.host)
  }

  manifest(digest: string) {
    return this.first(async (reader) => {
      const raw = await reader.manifest(digest)
      if (digestOf(raw.bytes) !== digest) throw mismatch('its manifest', digest)
      return raw
    })
  }

  blob(descriptor: Descriptor): Promise<Uint8Array> {
    return this.first(async (reader) => {
      const bytes = await reader.blob(descriptor)
      if (digestOf(bytes) !== descriptor.digest) throw mismatch('its config', descriptor.digest)
      return bytes
    })
  }

  /** Bytes that a mirror gave before it failed are not given twice; their sum is the caller's to check. */
  async *layer(layer: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    let given = 0
    for (const reader of this.readers()) {
      let skip = given
      try {
        for await (const piece of reader.layer(layer, signal)) {
          const kept = piece.subarray(Math.min(skip, piece.length))
          skip -= piece.length - kept.length
          if (kept.length === 0) continue
          given += kept.length
          yield kept
        }
        return
      } catch (error) {
        this.pass(reader, error, signal)
      }
    }
  }

  async has(layer: Descriptor): Promise<boolean> {
    for (const reader of this.readers()) {
      try {
        if (await reader.has(layer)) return true
      } catch (error) {
        this.pass(reader, error)
      }
    }
    return false
  }

  private readers(): RegistryReader[] {
    return [...this.mirrors.filter((mirror) => !this.silent.has(mirror)), this.registry]
  }

  private async first<T>(ask: (reader: RegistryReader) => Promise<T>): Promise<T> {
    for (const reader of this.readers()) {
      try {
        return await ask(reader)
      } catch (error) {
        this.pass(reader, error)
      }
    }
    throw new BerthError('BERTH_EINTERNAL', { problem: 'no registry was asked' })
  }

  /** Lets the next one be asked. @throws the error when there is none, and the signal's reason */
  private pass(reader: RegistryReader, error: unknown, signal?: AbortSignal): void {
    signal?.throwIfAborted()
    if (reader === this.registry) throw error
    const known = error instanceof BerthError ? error : undefined
    if (known?.code === 'BERTH_EREGISTRY') this.silent.add(reader)
    if (known === undefined || !NOT_THERE.includes(known.code))
      this.tell(reader.place, String(known?.fields.problem ?? known?.message ?? error))
  }
}
