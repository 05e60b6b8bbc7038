// SPDX-License-Identifier: Apache-2.0
/** Images in one tar file: oci-archive (a layout) and docker-archive (`docker save`), read in place, never unpacked. */
import { posix } from 'node:path'
import { BerthError } from '../report/errors.js'
import { parseConfig } from './config.js'
import type { OpenFile } from './layout.js'
import { CONFIG_BYTES_MAX, type Descriptor, digestOf, isObject, parseJson, refuse } from './manifest.js'
import { checkPlatform, type HostPlatform } from './platform.js'
import type { ImageReader, OpenedImage } from './reader.js'
import { readSlice, type Slice, streamSlice } from './slice.js'
import { indexTar, type Member } from './tarindex.js'

/** Old docker archives link equal layers, once; a chain of links is no archive that any tool writes. */
const LINKS_MAX = 4

/** The members of an archive by name; the headers are read once. */
export async function openArchive(file: Slice): Promise<OpenFile> {
  const members = await indexTar(file)
  return async (name) => {
    let path = posix.normalize(name)
    for (let hop = 0; hop <= LINKS_MAX; hop++) {
      const member: Member | undefined = members.get(path)
      if (member === undefined) refuse(`the archive has no ${name}`)
      if (member.link === undefined)
        return { fd: member.fd, start: member.start, size: member.size, own: false }
      // Relative for symbolic links, from the top for hard links.
      const near = posix.join(posix.dirname(path), member.link)
      path = members.has(near) ? near : posix.normalize(member.link)
    }
    return refuse(`the archive links ${name} in a circle`)
  }
}

export class DockerArchiveReader implements ImageReader {
  readonly open_to_all = false
  private readonly files = new Map<Descriptor, string>()

  constructor(
    private readonly openFile: OpenFile,
    private readonly tag: string | undefined,
    private readonly host: HostPlatform,
  ) {}

  /** The config's digest stands for the image: it fixes every layer by its diff id. */
  async resolve(): Promise<string> {
    return digestOf(await this.readConfig((await this.choose()).config))
  }

  async open(digest: string): Promise<OpenedImage> {
    const { config, layers: names } = await this.choose()
    const raw = await this.readConfig(config)
    if (digestOf(raw) !== digest) throw new BerthError('BERTH_EDIGEST', { object: 'the archive', digest })
    const parsed = parseConfig(raw, names.length)
    checkPlatform(
      { os: parsed.os, architecture: parsed.config.architecture, variant: parsed.variant },
      this.host,
    )
    const layers: Descriptor[] = []
    for (const name of names) {
      const { size } = await this.openFile(name)
      const layer = { digest: '', size, mediaType: '' }
      this.files.set(layer, name)
      layers.push(layer)
    }
    return { digest, parsed, layers }
  }

  async *layer(layer: Descriptor, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    yield* streamSlice(await this.openFile(this.files.get(layer) ?? ''), signal)
  }

  private async choose(): Promise<{ config: string; layers: string[] }> {
    const bytes = await this.readFile('manifest.json')
    const list = parseJson(Buffer.from(`{"list":${bytes.toString('utf8')}}`), 'manifest.json').list
    const images = Array.isArray(list) ? list.filter(isObject) : []
    const chosen =
      this.tag === undefined ? images : images.filter((image) => tagsOf(image).some((tag) => this.fits(tag)))
    const [image] = chosen
    if (image === undefined) {
      throw new BerthError('BERTH_EIMAGENOTFOUND', { problem: `no image ${this.tag ?? ''} in the archive` })
    }
    if (chosen.length > 1) {
      refuse(`it holds several images, name one of ${chosen.flatMap(tagsOf).slice(0, 12).join(', ')}`)
    }
    const { Config: config, Layers: layers } = image
    if (typeof config !== 'string' || !Array.isArray(layers)) return refuse('its manifest.json is malformed')
    return { config, layers: layers.map(String) }
  }

  private fits(name: string): boolean {
    return name === this.tag || name.endsWith(`:${this.tag}`) || name.endsWith(`/${this.tag}`)
  }

  /**
   * Elsewhere the manifest's digest stands for the image. Whoever passes one off as a config would have an image of
   * another place: in its stead, or without a byte of its layers.
   */
  private async readConfig(name: string): Promise<Buffer> {
    const bytes = await this.readFile(name)
    const json = parseJson(bytes, 'config')
    if ('layers' in json || 'manifests' in json) refuse(`its ${name} is a manifest and no config`)
    return bytes
  }

  private async readFile(name: string): Promise<Buffer> {
    const slice = await this.openFile(name)
    if (slice.size > CONFIG_BYTES_MAX) refuse(`its ${name} has over ${CONFIG_BYTES_MAX >> 20} MiB`)
    return readSlice(slice, 0, slice.size)
  }
}

function tagsOf(image: Record<string, unknown>): string[] {
  return Array.isArray(image.RepoTags) ? image.RepoTags.map(String) : []
}
