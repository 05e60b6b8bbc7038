// SPDX-License-Identifier: Apache-2.0
/**
 * The images of the shared store: images/KEY.sqsh and images/KEY.json. Both get their names when they are whole, the
 * json last; what has no json is not there. Runs in the sharer.
 */
import { createHash, randomBytes } from 'node:crypto'
import { constants, fstatSync, read, write } from 'node:fs'
import { type FileHandle, open, readdir, readFile, rename, rm, stat, statfs, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { SharedRow } from './wire.js'

type Json = Record<string, unknown>

/** Of descriptors: those of the worker cannot be opened anew under another account. */
const readAt = promisify(read)
const writeAt = promisify(write)

const KEY = /^[a-z0-9]+-[a-z0-9-]{1,200}$/
/** One read of a parallel file system's stripe; two of them are in memory. */
const CHUNK_BYTES = 4 << 20
const RECORD_BYTES_MAX = 4 << 20
const WRITABLE_BY_OTHERS = 0o022
/** What a node left behind when it died; no copy takes that long. */
const ABANDONED_MS = 86_400_000
/** More often tells nobody anything and costs the metadata server. */
const TOUCH_MS_MIN = 3_600_000
const PLACES_MAX = 64

export class SharedFiles {
  private readonly images: string
  private readonly temporary: string

  /** @param uid whose files are used beside root's */
  constructor(
    directory: string,
    private readonly uid: number,
  ) {
    this.images = join(directory, 'images')
    this.temporary = join(directory, 'tmp')
  }

  async find(key: string): Promise<Json | undefined> {
    const json = await this.readRecord(key)
    const size = json === undefined ? undefined : await this.sizeOf(key)
    return json !== undefined && json.size === size ? json : undefined
  }

  /** NFS may say for a minute that a name is not there, until somebody opens the directory. */
  async lookAgain(key: string): Promise<Json | undefined> {
    const folder = await open(this.images)
    await folder.close()
    return this.find(key)
  }

  /** @throws Error whose message says why the file is not used */
  async open(key: string): Promise<FileHandle> {
    return this.openSafely(this.path(key, 'sqsh'))
  }

  /** Copies `source` there and gives it its name. @throws the file system's error, with nothing left behind */
  async publish(key: string, source: number, record: Json): Promise<void> {
    const known = await this.find(key)
    if (known !== undefined) return this.writeRecord(key, merge(known, record))
    const { size } = fstatSync(source)
    const { bavail, bsize } = await statfs(this.images)
    if (bavail * bsize < size) throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    const path = join(this.temporary, `${key}.${randomBytes(8).toString('hex')}`)
    const file = await open(path, 'wx', 0o600)
    try {
      const sha256 = await copy(source, file.fd)
      await file.sync()
      await file.close()
      await this.writeRecord(key, { ...record, sha256 }, () => rename(path, this.path(key, 'sqsh')))
    } catch (error) {
      await file.close().catch(() => undefined)
      await rm(path, { force: true })
      throw error
    }
  }

  /** Fills `target`, or removes what turns out to be damaged. */
  async copyTo(key: string, target: number, tell: (done: number, total: number) => void) {
    const outcome = await this.read(key, target, tell)
    if (outcome === 'damaged') await this.remove(key)
    return outcome
  }

  async list(): Promise<SharedRow[]> {
    const names = await readdir(this.images).catch(() => [])
    const keys = names.filter((name) => name.endsWith('.json')).map((name) => name.slice(0, -5))
    const rows: SharedRow[] = []
    for (const key of keys.filter((one) => KEY.test(one))) {
      const json = await this.find(key)
      if (json === undefined) continue
      const { mtimeMs } = await stat(this.path(key, 'json'))
      const [reference] = texts(json.references)
      rows.push({
        ...{ key, reference: reference ?? '', digest: String(json.digest ?? '') },
        ...{ size: Number(json.size), created: Number(json.created) || 0, used: Math.floor(mtimeMs / 1000) },
        sha256: String(json.sha256 ?? ''),
      })
    }
    return rows
  }

  /** The json first: who does not find it does not look for the squashfs. */
  async remove(key: string): Promise<number> {
    const size = (await this.sizeOf(key)) ?? 0
    await rm(this.path(key, 'json'), { force: true })
    await rm(this.path(key, 'sqsh'), { force: true })
    return size
  }

  async touch(key: string): Promise<void> {
    const path = this.path(key, 'json')
    const { mtimeMs } = await stat(path)
    const now = Date.now()
    if (now - mtimeMs > TOUCH_MS_MIN) await utimes(path, now / 1000, now / 1000)
  }

  /** What nobody has used for so long, squashfs files without a json, and what dead nodes left. */
  async collect(unused_ms: number): Promise<{ key: string; size: number }[]> {
    const old = Date.now() - unused_ms
    const removed: { key: string; size: number }[] = []
    for (const { key, used } of await this.list())
      if (used * 1000 < old) removed.push({ key, size: await this.remove(key) })
    const names = new Set(await readdir(this.images))
    for (const name of names) {
      const isOrphan = name.endsWith('.sqsh') && !names.has(name.replace(/sqsh$/, 'json'))
      if (isOrphan) await removeOlder(join(this.images, name), Date.now() - ABANDONED_MS)
    }
    for (const name of await readdir(this.temporary))
      await removeOlder(join(this.temporary, name), Date.now() - ABANDONED_MS)
    return removed
  }

  private async read(
    key: string,
    target: number,
    tell: (done: number, total: number) => void,
  ): Promise<'copied' | 'damaged' | 'absent'> {
    const record = await this.readRecord(key)
    if (record === undefined) return 'absent'
    const file = await this.open(key).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    if (file === undefined) return 'absent'
    try {
      const total = Number(record.size)
      const sha256 = await copy(file.fd, target, (done) => tell(done, total))
      return sha256 === record.sha256 ? 'copied' : 'damaged'
    } finally {
      await file.close()
    }
  }

  private async readRecord(key: string): Promise<Json | undefined> {
    const file = await this.openSafely(this.path(key, 'json')).catch(() => undefined)
    if (file === undefined) return undefined
    try {
      if ((await file.stat()).size > RECORD_BYTES_MAX) return undefined
      const json = JSON.parse(await readFile(file, 'utf8')) as unknown
      return typeof json === 'object' && json !== null ? (json as Json) : undefined
    } catch {
      return undefined
    } finally {
      await file.close()
    }
  }

  /** `before`: what comes between the last write, for which there may be no room, and the record's name. */
  private async writeRecord(key: string, record: Json, before = async () => {}): Promise<void> {
    const path = join(this.temporary, `${key}.json.${randomBytes(8).toString('hex')}`)
    const file = await open(path, 'wx', 0o600)
    try {
      await file.writeFile(JSON.stringify(record))
      await file.sync()
      await before()
      await rename(path, this.path(key, 'json'))
    } catch (error) {
      await rm(path, { force: true })
      throw error
    } finally {
      await file.close()
    }
    const folder = await open(this.images)
    await folder.sync().finally(() => folder.close())
  }

  /** Of an open file: network file systems look at their server then, and may not for stat(2) (close-to-open). */
  private async sizeOf(key: string): Promise<number | undefined> {
    const file = await this.open(key).catch(() => undefined)
    if (file === undefined) return undefined
    return file
      .stat()
      .then(({ size }) => size)
      .finally(() => file.close())
  }

  private async openSafely(path: string): Promise<FileHandle> {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const found = await file.stat()
    const isOurs = found.isFile() && (found.uid === 0 || found.uid === this.uid)
    if (isOurs && (found.mode & WRITABLE_BY_OTHERS) === 0) return file
    await file.close()
    throw new Error(`${path} is no file that only the service account can have written`)
  }

  private path(key: string, kind: 'sqsh' | 'json'): string {
    if (!KEY.test(key)) throw new Error(`no key: ${key}`)
    return join(this.images, `${key}.${kind}`)
  }
}

/** The whole file to an empty one; answers its SHA-256. The next piece is read while one is hashed and written. */
async function copy(from: number, to: number, tell = (_done: number) => {}): Promise<string> {
  const hash = createHash('sha256')
  const buffers = [Buffer.allocUnsafe(CHUNK_BYTES), Buffer.allocUnsafe(CHUNK_BYTES)] as const
  let at = 0
  let reading = readAt(from, buffers[0], 0, CHUNK_BYTES, 0)
  for (let turn = 0; ; turn++) {
    const { buffer, bytesRead } = await reading
    if (bytesRead === 0) return hash.digest('hex')
    const here = at
    at += bytesRead
    reading = readAt(from, buffers[turn % 2 === 0 ? 1 : 0], 0, CHUNK_BYTES, at)
    // A failing write leaves the read to end by itself.
    reading.catch(() => undefined)
    const written = writeAll(to, buffer.subarray(0, bytesRead), here)
    // Until it is awaited below.
    written.catch(() => undefined)
    hash.update(buffer.subarray(0, bytesRead))
    await written
    tell(at)
  }
}

async function writeAll(fd: number, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await writeAt(fd, bytes, done, bytes.length - done, at + done)
    done += bytesWritten
  }
}

async function removeOlder(path: string, than: number): Promise<void> {
  const found = await stat(path).catch(() => undefined)
  if (found !== undefined && found.mtimeMs < than) await rm(path, { force: true })
}

/** The same image from another registry, which gave all of its layers too. */
function merge(known: Json, more: Json): Json {
  const both = (name: string) =>
    [...new Set([...texts(known[name]), ...texts(more[name])])].slice(0, PLACES_MAX)
  const names = { places: both('places'), references: both('references'), aliases: both('aliases') }
  return { ...known, ...names, open: known.open === true || more.open === true }
}

export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []
}
