// SPDX-License-Identifier: Apache-2.0
/** Which reader an importer takes for a reference. */
import { BerthError } from '../report/errors.js'
import { createLog } from '../report/log.js'
import { DockerArchiveReader, openArchive } from './archive.js'
import { Fetcher } from './fetch.js'
import { LayoutReader, type OpenFile } from './layout.js'
import { openRegistry } from './mirror.js'
import type { HostPlatform } from './platform.js'
import type { ImageReader } from './reader.js'
import { parseReference } from './reference.js'
import { RETRY } from './retry.js'
import { wholeFile } from './slice.js'
import type { ResolveOrder } from './wire.js'

export class Readers {
  private readonly made = new Map<string, ImageReader>()
  private readonly fetcher = new Fetcher()
  /** For mirrors: there is somebody else to ask. */
  private readonly hasty = new Fetcher(process.env, { ...RETRY, tries: 2 })
  /** stderr is the worker's log. */
  private readonly log = createLog({ level: 'warn' })
  /** Mirrors that the log has heard of. */
  private readonly failed = new Set<string>()

  /** @param openFile of an image layout in a directory, which is the user's */
  constructor(
    private readonly host: HostPlatform,
    private readonly openFile: OpenFile,
    onWait: Fetcher['onWait'],
  ) {
    this.fetcher.onWait = onWait
    this.hasty.onWait = onWait
  }

  /**
   * One reader for a reference and its credentials, so that tokens and manifests are fetched once. An archive is read
   * anew for each descriptor: the file may have been replaced meanwhile.
   */
  async of(text: string, order: ResolveOrder, archive: number | undefined): Promise<ImageReader> {
    const key = JSON.stringify([text, order.credentials])
    const known = this.made.get(key)
    if (known !== undefined && archive === undefined) return known
    const made = await this.make(text, order, archive)
    this.made.set(key, made)
    return made
  }

  private async make(text: string, order: ResolveOrder, archive: number | undefined): Promise<ImageReader> {
    const { source } = parseReference(text)
    if (source.kind === 'registry')
      return openRegistry(
        source,
        order,
        this.host,
        { registry: this.fetcher, mirrors: this.hasty },
        (mirror, problem) => this.tellMirror(mirror, problem),
      )
    if (source.kind === 'oci') return new LayoutReader(this.openFile, source.tag, this.host)
    if (source.kind === 'squashfs' || source.kind === 'directory')
      throw new BerthError('BERTH_EINTERNAL', { problem: `a ${source.kind} is not imported` })
    if (archive === undefined)
      throw new BerthError('BERTH_EINTERNAL', { problem: 'archive without a descriptor' })
    const files = await openArchive(wholeFile(archive))
    if (source.kind === 'oci-archive') return new LayoutReader(files, source.tag, this.host)
    return new DockerArchiveReader(files, source.kind === 'dockerd' ? undefined : source.tag, this.host)
  }

  /** Once for each: a user with many images must not fill the log. */
  private tellMirror(mirror: string, problem: string): void {
    if (this.failed.has(mirror)) return
    this.failed.add(mirror)
    this.log.warn(`mirror ${mirror} failed, the next one is asked: ${problem}`)
  }
}
