// SPDX-License-Identifier: Apache-2.0
/**
 * The importer's side of a conversation with the store: any number of RESOLVE, at most one IMPORT. It runs without
 * rights and parses all that comes from outside; credentials stay in this process' memory.
 */
import { fstatSync } from 'node:fs'
import type { Marks, Native, NativeSocket } from '../native.js'
import { BerthError, messageOf } from '../report/errors.js'
import {
  encodeFrame,
  type Fields,
  FRAME_BYTES_MAX,
  type Frame,
  FrameReader,
  type FrameType,
  Tag,
  Type,
} from '../worker/frame.js'
import type { ConvertProgress } from './convert.js'
import { MPI_FILES } from './elf_names.js'
import { FACTS_FIELD, factsWithin, type ImageFacts } from './facts.js'
import { inspectImage } from './inspect.js'
import type { HostPlatform } from './platform.js'
import type { ImageReader, OpenedImage } from './reader.js'
import { Readers } from './readers.js'
import { familiarName, parseReference } from './reference.js'
import { convertReusing } from './reuse.js'
import { type Slice, wholeFile } from './slice.js'
import { findSquashfs, takeSquashfs } from './squashfile.js'
import {
  failFields,
  GROUP,
  type Imported,
  type ImportOrder,
  PASSWD,
  parseData,
  plainHost,
  type Resolved,
  type ResolveOrder,
  type ReuseOrder,
  takeFail,
  withImage,
} from './wire.js'

/** Five reports a second are as many as an eye can follow. */
const REPORT_MS_MIN = 200
const CAPTURED = [PASSWD, GROUP]
/** For the headers of two more fields. */
const FRAME_BYTES_SPARE = 256

export class Importer {
  private readonly socket: NativeSocket
  private readonly frames = new FrameReader()
  private readonly readers: Readers
  /** By digest; what was resolved last may be imported. */
  private readonly opened = new Map<string, { image: OpenedImage; reader: ImageReader }>()
  private readonly waiting: { resolve: (fd: number) => void; reject: (error: Error) => void }[] = []
  private work: Promise<void> = Promise.resolve()

  /** @param ended called when the store has closed the connection */
  constructor(
    private readonly native: Native,
    fd: number,
    private readonly host: HostPlatform,
    ended: () => void,
  ) {
    this.readers = new Readers(
      host,
      (name) => this.openFile(name),
      (asked, seconds, status) =>
        this.send(Type.ASKING, [
          [Tag.NAME, plainHost(asked)],
          [Tag.DONE, seconds],
          ...(status === undefined ? [] : ([[Tag.EXIT, status]] as const)),
        ]),
    )
    this.socket = native.adopt(fd, {
      data: (bytes, fds) => {
        for (const frame of this.frames.push(bytes, fds)) this.receive(frame)
      },
      closed: () => ended(),
    })
  }

  private receive(frame: Frame): void {
    if (frame.type === Type.OPENED) {
      this.waiting.shift()?.resolve(frame.fds[0] ?? -1)
    } else if (frame.type === Type.FAIL) {
      this.waiting.shift()?.reject(takeFail(frame))
    } else {
      // One after the other: the store asks one thing at a time of one importer.
      this.work = this.work.then(() => this.answer(frame))
    }
  }

  private async answer(frame: Frame): Promise<void> {
    let name = frame.text(Tag.REF) ?? ''
    try {
      const reference = parseReference(name)
      name = familiarName(reference)
      if (frame.type === Type.RESOLVE) await this.resolve(frame)
      else if (frame.type === Type.IMPORT) await this.import(frame)
      else throw new BerthError('BERTH_EINTERNAL', { problem: `unexpected frame ${frame.type}` })
    } catch (error) {
      const known = error instanceof BerthError ? error : unexpected(error)
      this.send(Type.FAIL, failFields(withImage(known, name)))
    }
  }

  private async resolve(frame: Frame): Promise<void> {
    const order = parseData(frame.text(Tag.DATA) ?? '') as unknown as ResolveOrder
    const reader = await this.readers.of(frame.text(Tag.REF) ?? '', order, frame.fds[0])
    const asked = frame.text(Tag.DIGEST)
    if (asked === undefined) {
      const digest = await reader.resolve()
      const told: Resolved = { open: reader.open_to_all, bytes: 0, layers: [] }
      return this.send(Type.RESOLVED, [
        [Tag.DIGEST, digest],
        [Tag.DATA, JSON.stringify(told)],
      ])
    }
    const image = await reader.open(asked)
    this.opened.set(image.digest, { image, reader })
    const bytes = image.layers.reduce((sum, { size }) => sum + size, 0)
    const told: Resolved = { open: reader.open_to_all, bytes, layers: layersOf(image) }
    this.send(Type.RESOLVED, [
      [Tag.DIGEST, image.digest],
      [Tag.DATA, JSON.stringify(told)],
    ])
  }

  private async import(frame: Frame): Promise<void> {
    const order = parseData(frame.text(Tag.DATA) ?? '') as unknown as ImportOrder & { reuse?: ReuseOrder[] }
    const { source } = parseReference(frame.text(Tag.REF) ?? '')
    if (source.kind === 'squashfs') return this.importSquashfs(frame, order, source.path)
    const [output, ...images] = frame.fds
    const opened = this.opened.get(frame.text(Tag.DIGEST) ?? '')
    if (output === undefined || opened === undefined) {
      throw new BerthError('BERTH_EINTERNAL', { problem: 'import of something that was not resolved before' })
    }
    const { image, reader } = opened
    const { compressor, level, blockSize, threads, bytesMax, entriesMax, owners } = order
    const options = {
      ...{ fd: output, layers: image.layers.length, capture: CAPTURED },
      ...{ compressor, level, blockSize, threads, bytesMax, entriesMax, owners },
      ...(order.facts ? { markNeeded: MPI_FILES } : {}),
    }
    const { report, stop } = this.reporter()
    const result = await convertReusing(
      this.native,
      { image, reader, options, report },
      { images, layers: order.reuse ?? [] },
    ).finally(stop)
    const layers = layersOf(image)
    const { size, entries, captured, reused, problem } = result
    const imported = { size, entries, config: image.parsed.config, layers, reused, problem }
    this.sendImported(imported, captured, await this.factsOf(output, order, result.marks))
  }

  private async importSquashfs(frame: Frame, order: ImportOrder, path: string): Promise<void> {
    const [source, output] = frame.fds
    if (source === undefined) throw new BerthError('BERTH_EINTERNAL', { problem: 'import without a file' })
    const { report, stop } = this.reporter()
    report({ done: 0, total: fstatSync(source).size, layer: 0, layers: 1, reused: 0 })
    const taken = async () => {
      const place = await findSquashfs(source, path, this.host, order)
      return takeSquashfs(this.native, source, output, order, place)
    }
    const { imported, captured } = await taken().finally(stop)
    this.sendImported(imported, captured, await this.factsOf(output ?? source, order))
  }

  private async factsOf(
    fd: number,
    { facts, threads }: ImportOrder,
    marks?: Marks,
  ): Promise<ImageFacts | undefined> {
    return facts ? inspectImage(this.native, fd, threads, marks) : undefined
  }

  private sendImported(
    imported: Imported,
    captured: Record<string, Buffer>,
    facts: ImageFacts | undefined,
  ): void {
    const files = CAPTURED.flatMap((path): Fields => {
      const content = captured[path]
      if (content === undefined) return []
      return [
        [Tag.NAME, path],
        [Tag.ARG, content],
      ]
    })
    const data: Fields = [[Tag.DATA, JSON.stringify(imported)], ...files]
    const left = FRAME_BYTES_MAX - encodeFrame(Type.IMPORTED, data).length - FRAME_BYTES_SPARE
    const more: Fields =
      facts === undefined
        ? []
        : [
            [Tag.NAME, FACTS_FIELD],
            [Tag.ARG, factsWithin(facts, left)],
          ]
    this.send(Type.IMPORTED, [...data, ...more])
  }

  /** The newest state at most five times a second, also when nothing moves after it. */
  private reporter(): { report: (progress: ConvertProgress) => void; stop: () => void } {
    let newest: ConvertProgress | undefined
    let timer: NodeJS.Timeout | undefined
    const tell = () => {
      timer = undefined
      if (newest === undefined) return
      const { done, total, layer, layers, reused } = newest
      newest = undefined
      timer = setTimeout(tell, REPORT_MS_MIN)
      this.send(Type.IMPORTING, [
        [Tag.DONE, done],
        [Tag.TOTAL, total],
        [Tag.DATA, JSON.stringify({ layer, layers, reused })],
      ])
    }
    const report = (progress: ConvertProgress) => {
      newest = { ...progress }
      if (timer === undefined) tell()
    }
    return { report, stop: () => clearTimeout(timer) }
  }

  private async openFile(name: string): Promise<Slice & { own: boolean }> {
    const fd = await new Promise<number>((resolve, reject) => {
      this.waiting.push({ resolve, reject })
      this.send(Type.OPEN, [[Tag.NAME, name]])
    })
    return { ...wholeFile(fd), own: true }
  }

  private send(type: FrameType, fields: Fields): void {
    this.socket.send(encodeFrame(type, fields))
  }
}

function layersOf({ layers, parsed }: OpenedImage): Imported['layers'] {
  return layers.map(({ digest, size }, index) => ({ digest, size, diffId: parsed.diffIds[index] ?? '' }))
}

function unexpected(error: unknown): BerthError {
  const problem = messageOf(error)
  return new BerthError('BERTH_EINTERNAL', { problem: problem.slice(0, 500) }, { cause: error })
}
