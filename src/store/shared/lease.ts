// SPDX-License-Identifier: Apache-2.0
/**
 * Who imports an image for all nodes: one small file per image, made by link(2), which is atomic on every shared file
 * system and needs no lock service. Its owner rewrites it every few seconds; a lease that does not change any more is
 * taken over. Clocks of nodes are not compared: each waiter measures by its own how long it saw no change.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type FileHandle, link, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Share } from './wire.js'

interface Owner extends Share {
  /** Of one attempt. */
  token: string
  node: string
  /** Boot of the node, and process: a worker that comes back finds its own dead predecessor at once. */
  boot: string
  pid: number
  start: string
  /** Counts the signs of life. */
  beat: number
}

type Taken = { lease: Lease } | { owner: Owner }

/** Rewritten in place: one block whatever the numbers, so that a reader never sees the end of an older, longer text. */
const LEASE_BYTES = 512
/** Far over any difference of clocks: such a file has an owner that died before anybody here looked. */
const FORGOTTEN_MS = 3_600_000
/** link(2) where the file system has no links: some FUSE servers. */
const NO_LINKS = ['EPERM', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']
const NOTHING_DONE: Share = { done: 0, total: 0, layer: 0, layers: 0 }

export class Leases {
  /** What was last seen of others' leases, and since when (by this process' own clock). */
  private readonly seen = new Map<string, { token: string; beat: number; since: number }>()

  constructor(
    private readonly directory: string,
    private readonly node: string,
    private readonly stale_ms: number,
  ) {}

  /** @throws the file system's error where nothing can be written */
  async take(name: string): Promise<Taken> {
    const path = join(this.directory, 'leases', name)
    for (;;) {
      // A thousand nodes that wait only read: the metadata server has enough to do.
      const found = await readOwner(path)
      const lease = found === undefined ? await this.make(path) : undefined
      if (lease !== undefined) {
        this.seen.delete(name)
        return { lease }
      }
      // Made by another node just now: the next look tells by whom.
      const owner = found ?? UNKNOWN_OWNER
      if (await this.isAlive(name, path, owner)) return { owner }
      await this.evict(path, owner.token)
    }
  }

  private async make(path: string): Promise<Lease | undefined> {
    const token = randomBytes(12).toString('hex')
    const own = { ...NOTHING_DONE, token, node: this.node, boot: bootId(), beat: 0 }
    const owner: Owner = { ...own, pid: process.pid, start: startOf(process.pid) }
    const temporary = join(this.directory, 'tmp', `lease.${token}`)
    const file = await open(temporary, 'wx', 0o600)
    try {
      await writeOwner(file, owner)
      const got = await linkOnce(temporary, path, file)
      if (got === 'made') return new Lease(path, owner, file)
    } catch (error) {
      await file.close()
      throw error
    } finally {
      await rm(temporary, { force: true })
    }
    await file.close()
    return undefined
  }

  private async isAlive(name: string, path: string, { token, node, boot, pid, start, beat }: Owner) {
    if (boot === bootId() && node === this.node) return startOf(pid) === start
    const last = this.seen.get(name)
    if (last?.token === token && last.beat === beat) return performance.now() - last.since < this.stale_ms
    this.seen.set(name, { token, beat, since: performance.now() })
    return last?.token === token || !(await this.isForgotten(path))
  }

  /** By the file system's own clock where it has one: compared with a file that was written there just now. */
  private async isForgotten(path: string): Promise<boolean> {
    const temporary = join(this.directory, 'tmp', `now.${randomBytes(12).toString('hex')}`)
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.write('now')
      await file.sync()
      const now = (await file.stat()).mtimeMs
      const { mtimeMs } = await stat(path)
      return now - mtimeMs > FORGOTTEN_MS
    } catch {
      return false
    } finally {
      await file.close()
      await rm(temporary, { force: true })
    }
  }

  /** Of all who see a dead owner one moves its file away. What was moved by mistake, a new owner's, is put back. */
  private async evict(path: string, token: string): Promise<void> {
    if (!(await isOwnedBy(path, token))) return
    const aside = join(this.directory, 'tmp', `dead.${randomBytes(12).toString('hex')}`)
    try {
      await rename(path, aside)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    if (!(await isOwnedBy(aside, token))) await link(aside, path).catch(() => undefined)
    await rm(aside, { force: true })
  }
}

/** An own lease. */
export class Lease {
  private written: Promise<void> = Promise.resolve()

  constructor(
    private readonly path: string,
    private readonly owner: Owner,
    private readonly file: FileHandle,
  ) {}

  get token(): string {
    return this.owner.token
  }

  /** A sign of life. A write that fails is made good by the next one. */
  beat(share?: Share): Promise<void> {
    Object.assign(this.owner, share ?? {})
    this.owner.beat++
    const owner = { ...this.owner }
    this.written = this.written.then(() => writeOwner(this.file, owner)).catch(() => undefined)
    return this.written
  }

  /** Unless somebody has taken it over. */
  async end(): Promise<void> {
    await this.written
    await this.file.close().catch(() => undefined)
    if (await isOwnedBy(this.path, this.owner.token)) await rm(this.path, { force: true })
  }
}

/** link(2) may answer that the name exists although it has just made it: an NFS reply got lost (open(2), O_EXCL). */
async function linkOnce(from: string, to: string, file: FileHandle): Promise<'made' | 'there'> {
  try {
    await link(from, to)
    return 'made'
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    if (code === 'EEXIST') return (await file.stat()).nlink === 2 ? 'made' : 'there'
    if (!NO_LINKS.includes(code)) throw error
  }
  try {
    await (await open(to, 'wx', 0o600)).close()
  } catch (error) {
    // SFTP has no code for a name that exists: sshfs says EPERM to who comes second.
    if (await exists(to)) return 'there'
    throw error
  }
  await rename(from, to)
  return 'made'
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

async function writeOwner(file: FileHandle, owner: Owner): Promise<void> {
  await file.write(JSON.stringify(owner).padEnd(LEASE_BYTES), 0)
  await file.sync()
}

/** Of a file that says nothing: its node died between making and writing it, or is about to write. */
const UNKNOWN_OWNER: Owner = {
  ...NOTHING_DONE,
  ...{ token: '', node: 'another node', boot: '', pid: 0, start: '', beat: 0 },
}

/** Undefined: there is none. */
async function readOwner(path: string): Promise<Owner | undefined> {
  try {
    const json = JSON.parse(await readFile(path, 'utf8')) as Partial<Owner>
    const isOwner = typeof json.token === 'string' && typeof json.node === 'string'
    return isOwner ? { ...UNKNOWN_OWNER, ...json } : UNKNOWN_OWNER
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : UNKNOWN_OWNER
  }
}

async function isOwnedBy(path: string, token: string): Promise<boolean> {
  return (await readOwner(path))?.token === token
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

/** Field 22 of proc_pid_stat(5); '' when there is no such process. */
function startOf(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
