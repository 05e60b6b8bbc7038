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
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Native } from '../native.js'
import { BerthError, messageOf } from '../report/errors.js'
import {
  type Container,
  type ContainerFacts,
  type ContainerId,
  RECORD,
  readContainer,
} from './container_record.js'
import { writeDurably } from './durable.js'

export type { Container, ContainerFacts, ContainerId, JobProcess } from './container_record.js'

/** Only root passes: what users own below is reached through their containers alone. */
const MODE = 0o700

export const GLOBAL_SCOPE = 'global'

export class Containers {
  private readonly folder: string
  private readonly known = new Map<string, Container>()
  /** Those whose record the disk did not give. */
  private readonly unread = new Map<string, ContainerId>()

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
      this.unread.delete(key)
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
    this.readAgain()
    return this.list().filter(({ image }) => image.key === key)
  }

  /** Whether the image may be the base of one: any may be that of one whose record the disk does not give. */
  need(key: string): boolean {
    return this.on(key).length > 0 || this.unread.size > 0
  }

  /** Containers of which nobody knows what they sit on. */
  unreadable(): ContainerId[] {
    this.readAgain()
    return [...this.unread.values()]
  }

  /** Costs two directories and a small file on disk. @throws the file system's error */
  create(id: ContainerId, facts: ContainerFacts): Container {
    const path = join(this.folder, String(id.uid), id.scope, id.name)
    const created = Math.floor(Date.now() / 1000)
    const fresh = join(this.folder, '.new', randomBytes(8).toString('hex'))
    try {
      mkdirSync(fresh, { mode: MODE })
      writeDurably(join(fresh, RECORD), JSON.stringify({ version: 1, created, ...facts }))
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

  /** One that the disk does not give is asked for again by who wants it, or what it may sit on. */
  private readOne(id: ContainerId): Container | undefined {
    try {
      return readContainer(this.folder, id)
    } catch (error) {
      this.log(
        `container ${id.name} of user ${id.uid} cannot be read, so no image is removed: ${messageOf(error)}`,
      )
      this.unread.set(keyOf(id), id)
      return undefined
    }
  }

  private readAgain(): void {
    for (const id of this.unread.values()) {
      try {
        this.find(id)
      } catch {
        // As before.
      }
    }
  }
}

export function keyOf({ uid, scope, name }: ContainerId): string {
  return `${uid}/${scope}/${name}`
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

function directories(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name)
}
