// SPDX-License-Identifier: Apache-2.0
/** Pull client of the OCI distribution API: what registries really do, not only what it says. */
import { BerthError } from '../report/errors.js'
import { Authorizer } from './auth.js'
import { streamBlob } from './blob.js'
import { headerText, headerTexts, readBounded } from './body.js'
import { type CredentialDocument, describeDocuments, findCredential } from './credentials.js'
import { type Fetcher, type Reply, unreachable } from './fetch.js'
import type { RegistrySource } from './image.js'
import { ACCEPT_MANIFESTS, type Descriptor, digestOf, MANIFEST_BYTES_MAX, refuse } from './manifest.js'
import { registryOrigin } from './origin.js'
import type { HostPlatform } from './platform.js'
import { broken, type ImageReader, type ManifestPlace, type OpenedImage, openImage } from './reader.js'

type Raw = { bytes: Buffer; contentType: string | undefined }

const DIGEST = /^sha256:[0-9a-f]{64}$/

export class RegistryReader implements ImageReader, ManifestPlace {
  private readonly api: URL
  private readonly authorizer: Authorizer
  /** The document that a tag's GET brought is not fetched again by its digest: Hub counts each. */
  private readonly seen = new Map<string, Raw>()

  /** The registry's host, with its port. */
  get place(): string {
    return this.source.host
  }

  constructor(
    private readonly source: RegistrySource,
    private readonly fetcher: Fetcher,
    private readonly host: HostPlatform,
    private readonly documents: readonly CredentialDocument[] = [],
    insecure: readonly string[] = [],
  ) {
    this.api = new URL(`${registryOrigin(source.host, insecure)}/v2/${source.repository}/`)
    const credential = findCredential(documents, source.host, source.repository, source.user)
    this.authorizer = new Authorizer(fetcher, this.api, source.repository, credential)
  }

  get open_to_all(): boolean {
    return this.authorizer.anonymous
  }

  /**
   * HEAD first: it is free at Docker Hub and proves that this user may pull. Registries that do not answer it, or
   * without Docker-Content-Digest, are asked by GET.
   */
  async resolve(): Promise<string> {
    const name = this.source.digest ?? this.source.tag ?? 'latest'
    const head = await this.send(`manifests/${name}`, { method: 'HEAD', accept: ACCEPT_MANIFESTS })
    await head.body.dump()
    const told = headerText(head.headers['docker-content-digest'])
    if (head.status === 200 && (this.source.digest ?? told) !== undefined) {
      const digest = this.source.digest ?? told ?? ''
      if (told !== undefined && told !== digest) throw wrong(this.source, digest)
      if (DIGEST.test(digest)) return digest
    }
    const raw = await this.fetchManifest(name)
    const digest = digestOf(raw.bytes)
    if (this.source.digest !== undefined && digest !== this.source.digest) throw wrong(this.source, digest)
    this.seen.set(digest, raw)
    return digest
  }

  open(digest: string): Promise<OpenedImage> {
    return openImage(this, digest, this.host)
  }

  async manifest(digest: string): Promise<Raw> {
    return this.seen.get(digest) ?? (await this.fetchManifest(digest))
  }

  async blob(descriptor: Descriptor): Promise<Uint8Array> {
    return readBounded(this.layer(descriptor), descriptor.size)
  }

  layer(layer: Descriptor, signal?: AbortSignal): AsyncIterable<Uint8Array> {
    const ask = async (headers: Record<string, string>) => {
      const reply = await this.send(`blobs/${layer.digest}`, { headers, signal })
      if (reply.status !== 404) return reply
      await reply.body.dump()
      throw broken(layer.digest, `is missing in ${this.source.host}`)
    }
    return streamBlob(ask, layer, this.fetcher.policy, signal)
  }

  /** By HEAD, which registries answer for the repository's own layers only. */
  async has({ digest }: Descriptor): Promise<boolean> {
    const reply = await this.send(`blobs/${digest}`, { method: 'HEAD' })
    await reply.body.dump()
    return reply.status === 200
  }

  private async fetchManifest(name: string): Promise<Raw> {
    const reply = await this.send(`manifests/${name}`, { accept: ACCEPT_MANIFESTS })
    if (reply.status === 404) {
      await reply.body.dump()
      throw new BerthError('BERTH_EIMAGENOTFOUND', {
        problem: `${this.source.host} has no such ${this.missing()}`,
      })
    }
    if (reply.status !== 200) {
      await reply.body.dump()
      throw unreachable(this.api, `it answers HTTP ${reply.status} for a manifest`)
    }
    try {
      const bytes = await readBounded(reply.body, MANIFEST_BYTES_MAX)
      return { bytes, contentType: headerText(reply.headers['content-type']) }
    } catch (error) {
      if (error instanceof RangeError) refuse(`its manifest has over ${MANIFEST_BYTES_MAX >> 20} MiB`)
      throw unreachable(this.api, 'it broke off in the middle of a manifest', error)
    }
  }

  private missing(): string {
    return this.source.digest === undefined ? 'image or tag' : 'digest in this repository'
  }

  /** A 401 is answered once, a 403 that asks for a wider scope once; what then remains is a matter of rights. */
  private async send(
    path: string,
    options: {
      method?: 'GET' | 'HEAD'
      accept?: string
      headers?: Record<string, string>
      signal?: AbortSignal | undefined
    },
  ): Promise<Reply> {
    let answered = false
    let widened = false
    for (;;) {
      const authorization = this.authorizer.header()
      const reply = await this.fetcher.ask(new URL(path, this.api), {
        method: options.method ?? 'GET',
        headers: {
          ...(options.accept === undefined ? {} : { accept: options.accept }),
          ...options.headers,
          ...(authorization === undefined ? {} : { authorization }),
        },
        signal: options.signal,
      })
      if (reply.status !== 401 && reply.status !== 403) return reply
      await reply.body.dump()
      if (reply.url.origin !== this.api.origin) {
        throw unreachable(reply.url, `it refuses what ${this.api.host} sent us for (HTTP ${reply.status})`)
      }
      const challenges = headerTexts(reply.headers['www-authenticate'])
      if (reply.status === 401 && !answered) {
        answered = true
        if (await this.authorizer.answer(challenges, options.signal)) continue
      } else if (reply.status === 403 && !widened) {
        widened = true
        if (await this.authorizer.widen(challenges, options.signal)) continue
      }
      throw this.denied()
    }
  }

  private denied(): BerthError {
    const files = describeDocuments(this.documents) || '~/.docker/config.json and the like: none there'
    return new BerthError('BERTH_EAUTH', { host: this.source.host, files })
  }
}

function wrong(source: RegistrySource, digest: string): BerthError {
  return new BerthError('BERTH_EDIGEST', { object: `${source.host}'s manifest`, digest })
}
