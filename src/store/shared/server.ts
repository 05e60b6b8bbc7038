// SPDX-License-Identifier: Apache-2.0
/**
 * The sharer: all that touches the shared file system, in a process of its own under the account that may write there.
 * A server that does not answer holds up this process and never the worker. When the worker is gone it finishes what
 * it publishes, gives all leases back and ends.
 */
import { createHash } from 'node:crypto'
import { closeSync } from 'node:fs'
import { chmod, type FileHandle, mkdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Native, NativeSocket } from '../../native.js'
import { encodeFrame, type Fields, type Frame, FrameReader, Tag, Type } from '../../worker/frame.js'
import { FOLDERS, mayWrite, shareFailure } from './failure.js'
import { SharedFiles, texts } from './files.js'
import { type Lease, Leases } from './lease.js'
import type { OrderName, Orders, Sent, SharerSettings, ShareState, Turn } from './wire.js'

/** Eight signs of life within the time after which an owner counts as dead. */
const BEATS_PER_STALE = 8
/** Hashing and writing are faster than anybody can read numbers. */
const TELL_MS_MIN = 200

type Json = Record<string, unknown>

type Handlers = {
  [N in OrderName]: (
    order: Orders[N]['order'],
    fd: number | undefined,
    tell: (done: number, total: number) => void,
  ) => Promise<Orders[N]['answer'] & { file?: FileHandle }>
}

export class SharerServer {
  private readonly socket: NativeSocket
  private readonly frames = new FrameReader()
  /** Come with the frame they belong to or with one before it, in order. */
  private readonly fds: number[] = []
  private readonly files: SharedFiles
  private readonly leases: Leases
  private readonly own = new Map<string, Lease>()
  /** Orders that are done to their end even when nobody waits for it any more. */
  private readonly unfinished = new Set<Promise<unknown>>()
  private readonly handlers: Handlers

  constructor(
    native: Native,
    socket: number,
    private readonly settings: SharerSettings,
    private readonly ended: () => void,
  ) {
    const { directory, uid, node, stale_ms } = settings
    this.files = new SharedFiles(directory, uid)
    this.leases = new Leases(directory, node, stale_ms)
    this.handlers = this.makeHandlers()
    this.socket = native.adopt(socket, {
      data: (bytes, fds) => {
        for (const frame of this.frames.push(bytes, fds)) void this.answer(frame)
      },
      closed: () => void this.finish(),
    })
    const beat = () => {
      for (const lease of this.own.values()) void lease.beat()
    }
    setInterval(beat, stale_ms / BEATS_PER_STALE).unref()
  }

  private makeHandlers(): Handlers {
    const { files } = this
    return {
      check: () => this.check(),
      find: async ({ key }) => {
        const record = await files.find(key)
        if (record === undefined) return {}
        return { record, file: await files.open(key) }
      },
      acquire: ({ key, place }) => this.acquire(key, place),
      beat: async ({ key, place, ...share }) => {
        await this.own.get(leaseName(key, place))?.beat(share)
        return {}
      },
      release: async ({ key, place }) => {
        await this.release(leaseName(key, place))
        return {}
      },
      publish: async ({ key, place, record }, fd) => {
        await files.publish(key, needed(fd), record).finally(() => this.release(leaseName(key, place)))
        return { published: true }
      },
      copy: async ({ key }, fd, tell) => {
        return { outcome: await files.copyTo(key, needed(fd), tell) }
      },
      touch: async ({ keys }) => {
        for (const key of keys) await files.touch(key).catch(() => undefined)
        return {}
      },
      list: async () => ({ images: await files.list() }),
      remove: async ({ keys }) => {
        const removed = []
        for (const key of keys) removed.push({ key, size: await files.remove(key) })
        return { removed }
      },
      collect: async ({ unused_s }) => ({ removed: await files.collect(unused_s * 1000) }),
    }
  }

  private async check(): Promise<ShareState> {
    const { directory, uid } = this.settings
    const failure = await shareFailure(directory, uid)
    const filesystem = await statfs(directory).then(
      ({ type }) => type,
      () => 0,
    )
    if (failure !== undefined) return { failure, writable: false, filesystem }
    const isWritable = await mayWrite(directory)
    if (!isWritable) return { writable: false, filesystem }
    for (const name of FOLDERS) {
      await mkdir(join(directory, name), { recursive: true, mode: 0o700 })
      await chmod(join(directory, name), 0o700)
    }
    return { writable: true, filesystem }
  }

  private async acquire(key: string, place: string): Promise<Turn> {
    const record = await this.files.find(key)
    if (speaksFor(record, place)) return { state: 'published', record }
    const name = leaseName(key, place)
    const taken = await this.leases.take(name).catch((error: NodeJS.ErrnoException) => {
      if (['EACCES', 'EROFS', 'EPERM', 'ENOENT', 'ENOSPC', 'EDQUOT'].includes(error.code ?? ''))
        return undefined
      throw error
    })
    if (taken === undefined) return { state: 'readonly' }
    if ('owner' in taken) {
      const { node, done, total, layer, layers } = taken.owner
      return { state: 'busy', node, done, total, layer, layers }
    }
    // Its last owner may have published between the two looks.
    const late = await this.files.lookAgain(key)
    if (speaksFor(late, place)) {
      await taken.lease.end()
      return { state: 'published', record: late }
    }
    this.own.set(name, taken.lease)
    return { state: 'mine' }
  }

  private async release(name: string): Promise<void> {
    const lease = this.own.get(name)
    this.own.delete(name)
    await lease?.end()
  }

  private async answer(frame: Frame): Promise<void> {
    const name = frame.text(Tag.NAME) as OrderName
    const { id, order, hasFile } = JSON.parse(frame.text(Tag.DATA) ?? '{}') as Sent<never>
    this.fds.push(...frame.fds)
    const fd = hasFile ? this.fds.shift() : undefined
    let told = 0
    const tell = (done: number, total: number) => {
      if (performance.now() - told < TELL_MS_MIN) return
      told = performance.now()
      this.send(Type.IMPORTING, id, { done, total })
    }
    try {
      const handler = this.handlers[name] as Handlers['check']
      const work = handler(order, fd, tell)
      // Half of one would leave a lease or a file that nobody ends. A copy is only for the worker that is gone.
      if (name !== 'copy') this.unfinished.add(work)
      const { file, ...answer } = await work.finally(() => this.unfinished.delete(work))
      this.send(Type.RESULT, id, answer, file === undefined ? [] : [file.fd])
      await file?.close()
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      this.send(Type.FAIL, id, { code: code ?? '', message })
    } finally {
      if (fd !== undefined) closeSync(fd)
    }
  }

  private send(type: Frame['type'], id: number, answer: unknown, fds: readonly number[] = []): void {
    const fields: Fields = [
      [Tag.DATA, JSON.stringify({ id, order: answer, hasFile: fds.length > 0 } satisfies Sent<unknown>)],
    ]
    this.socket.send(encodeFrame(type as typeof Type.RESULT, fields), fds)
  }

  private async finish(): Promise<void> {
    while (this.unfinished.size > 0) await Promise.allSettled(this.unfinished)
    await Promise.allSettled([...this.own.keys()].map((name) => this.release(name)))
    this.ended()
  }
}

/** What another registry calls by that digest proves nothing here (record.ts, places). */
function speaksFor(record: Json | undefined, place: string): record is Json {
  return record !== undefined && (record.open === true || texts(record.places).includes(place))
}

function needed(fd: number | undefined): number {
  if (fd === undefined) throw new Error('an order without its file')
  return fd
}

/** One per image and registry: what another registry serves slowly under the same digest holds up nobody else. */
function leaseName(key: string, place: string): string {
  return `${key}.${createHash('sha256').update(place).digest('hex').slice(0, 16)}`
}
