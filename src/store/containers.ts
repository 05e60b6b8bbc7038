// SPDX-License-Identifier: Apache-2.0
/**
 * Named containers on disk: what their users wrote, above an image of the store.
 *
 *   store/containers/UID/SCOPE/NAME/     SCOPE: global, or job-JOBID
 *     container.json                     the image below, who made it when
 *     upper/ work/                       of overlayfs, made with the first mount
 *   store/containers/.new/, .trash/      what is not there yet, or not any more
 *   store/containers/.unreadable/        what nobody knows any more, for the operator
 *
 * A container appears and goes by one rename, so half of one never stays.
 */
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { parseData, takeCount, takeText } from '../image/wire.js'
import type { Native } from '../native.js'
import { BerthError, messageOf } from '../report/errors.js'
import { codeOf } from '../site/trusted_file.js'

export interface ContainerId {
  uid: number
  scope: string
  name: string
}

/** The process of Slurm's that lives as long as the job does on this node. */
export interface JobProcess {
  pid: number
  start: number
}

export interface ContainerFacts {
  /** path: of a squashfs file that is mounted as it is. */
  image: { key: string; reference: string; path?: string }
  /** The step that made it. */
  creator: string
  /** Of a container that ends with its job. */
  job?: { processes: JobProcess[]; end?: number }
}

export interface Container extends ContainerId, ContainerFacts {
  path: string
  /** Seconds since the epoch. */
  created: number
}

const RECORD = 'container.json'
const RECORD_CHARS_MAX = 64 << 10
const PATH_CHARS_MAX = 4096
/** Only root passes: what users own below is reached through their containers alone. */
const MODE = 0o700

export const GLOBAL_SCOPE = 'global'

export class Containers {
  private readonly folder: string
  private readonly known = new Map<string, Container>()

  constructor(
    store: string,
    private readonly native: Pick<Native, 'removeTree' | 'treeSize'>,
    private readonly log: (line: string) => void = () => undefined,
  ) {
    this.folder = join(store, 'containers')
    for (const part of ['.new', '.trash']) mkdirSync(join(this.folder, part), { recursive: true, mode: MODE })
    chmodSync(this.folder, MODE)
    rmSync(join(this.folder, '.new'), { recursive: true, force: true })
    mkdirSync(join(this.folder, '.new'), { mode: MODE })
    for (const container of this.read()) this.known.set(keyOf(container), container)
  }

  /** @throws BerthError BERTH_ESTORE when the disk does not say: a new one would take the place of what is there */
  find(id: ContainerId): Container | undefined {
    const key = keyOf(id)
    try {
      const container = this.known.get(key) ?? readContainer(this.folder, id)
      if (container !== undefined && isThere(join(container.path, RECORD))) {
        this.known.set(key, container)
        return container
      }
    } catch (error) {
      throw new BerthError('BERTH_ESTORE', { path: this.folder, problem: messageOf(error) }, { cause: error })
    }
    this.known.delete(key)
    return undefined
  }

  /** Of one user, or of all. */
  list(uid?: number): Container[] {
    return [...this.known.values()].filter((container) => uid === undefined || container.uid === uid)
  }

  /** Those that sit on an image. */
  on(key: string): Container[] {
    return this.list().filter(({ image }) => image.key === key)
  }

  /** Costs two directories and a small file. @throws the file system's error */
  create(id: ContainerId, facts: ContainerFacts): Container {
    const path = join(this.folder, String(id.uid), id.scope, id.name)
    const created = Math.floor(Date.now() / 1000)
    const fresh = join(this.folder, '.new', randomBytes(8).toString('hex'))
    try {
      mkdirSync(fresh, { mode: MODE })
      writeFileSync(join(fresh, RECORD), JSON.stringify({ version: 1, created, ...facts }), { mode: 0o600 })
      mkdirSync(join(path, '..'), { recursive: true, mode: MODE })
      if (!this.known.has(keyOf(id)) && existsSync(path)) this.setAside(id, path)
      renameSync(fresh, path)
    } catch (error) {
      rmSync(fresh, { recursive: true, force: true })
      throw error
    }
    const container: Container = { ...id, ...facts, path, created }
    this.known.set(keyOf(id), container)
    return container
  }

  /** From now on the name is free; the way to the files is given back, which stay until discard(). */
  bury(container: Container): string {
    const grave = join(this.folder, '.trash', randomBytes(8).toString('hex'))
    renameSync(container.path, grave)
    this.known.delete(keyOf(container))
    return grave
  }

  /** Files of a container that nobody has mounted. @throws NativeError */
  discard(grave: string): Promise<void> {
    return this.native.removeTree(grave)
  }

  /** Where nobody waits to hear of it: what cannot be removed is a line in the log, and the next worker's to try. */
  async letGo(grave: string): Promise<void> {
    await this.discard(grave).catch((error: unknown) =>
      this.log(`a removed container is still on disk: ${messageOf(error)}`),
    )
  }

  /** Graves that a crash left; only when no container runs. */
  async emptyTrash(): Promise<void> {
    const trash = join(this.folder, '.trash')
    for (const name of directories(trash)) await this.letGo(join(trash, name))
  }

  /** Bytes on disk beyond the image's own. */
  size(container: Container): Promise<number> {
    return this.native.treeSize(join(container.path, 'upper'))
  }

  /** One without a record that can be read, as after the power's end: its files are its user's, its name is free. */
  private setAside({ uid, name }: ContainerId, path: string): void {
    const folder = join(this.folder, '.unreadable')
    mkdirSync(folder, { recursive: true, mode: MODE })
    const aside = join(folder, `${uid}-${randomBytes(8).toString('hex')}`)
    renameSync(path, aside)
    this.log(`container ${name} of user ${uid} has no readable record; its files are in ${aside}`)
  }

  private read(): Container[] {
    return directories(this.folder)
      .filter((uid) => /^\d+$/.test(uid))
      .flatMap((uid) =>
        directories(join(this.folder, uid)).flatMap((scope) =>
          directories(join(this.folder, uid, scope)).flatMap((name) => {
            const container = this.readOne({ uid: Number(uid), scope, name })
            return container === undefined ? [] : [container]
          }),
        ),
      )
  }

  /** One that the disk does not give is asked for again by who wants it. */
  private readOne(id: ContainerId): Container | undefined {
    try {
      return readContainer(this.folder, id)
    } catch (error) {
      this.log(`container ${id.name} of user ${id.uid} cannot be read: ${messageOf(error)}`)
      return undefined
    }
  }
}

export function keyOf({ uid, scope, name }: ContainerId): string {
  return `${uid}/${scope}/${name}`
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

/**
 * A record that says nothing hides its container, which stays for the operator to look at.
 * @throws the file system's error when it may say something
 */
function readContainer(folder: string, id: ContainerId): Container | undefined {
  const path = join(folder, String(id.uid), id.scope, id.name)
  const text = readRecord(join(path, RECORD))
  if (text === undefined) return undefined
  try {
    const json = parseData(text.slice(0, RECORD_CHARS_MAX))
    const image = parseData(JSON.stringify(json.image))
    return {
      ...id,
      path,
      created: takeCount(json.created),
      creator: takeText(json.creator),
      image: {
        key: takeText(image.key),
        reference: takeText(image.reference, PATH_CHARS_MAX),
        ...(image.path === undefined ? {} : { path: takeText(image.path, PATH_CHARS_MAX) }),
      },
      ...(json.job === undefined ? {} : { job: readJob(JSON.stringify(json.job)) }),
    }
  } catch {
    return undefined
  }
}

function readRecord(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return undefined
    throw error
  }
}

function readJob(text: string): NonNullable<ContainerFacts['job']> {
  const { processes, end } = parseData(text)
  const list = Array.isArray(processes) ? processes : []
  return {
    processes: list.map((one) => {
      const { pid, start } = parseData(JSON.stringify(one))
      return { pid: takeCount(pid), start: takeCount(start) }
    }),
    ...(end === undefined ? {} : { end: takeCount(end) }),
  }
}

function directories(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name)
}
