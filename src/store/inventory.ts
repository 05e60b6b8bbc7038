// SPDX-License-Identifier: Apache-2.0
/** What operators see of a node's images and do with them: list, remove, pin, check, collect. */
import { isDigest, parseReference } from '../image/reference.js'
import { BerthError } from '../report/errors.js'
import type { ContainerId, Containers } from './containers.js'
import type { Devices } from './device.js'
import type { Intake } from './intake.js'
import type { ImageRow } from './options.js'
import type { StoreRecord } from './record.js'
import type { Resolver } from './resolver.js'
import { ownSubjects, type Scrubbed, type ScrubTurn, scrubImages, sharedSubjects } from './scrub.js'
import type { Shared } from './shared/shared.js'
import type { Removed, Shelf } from './shelf.js'

export class Inventory {
  private readonly shelf: Shelf

  constructor(
    private readonly intake: Intake,
    private readonly devices: Devices,
    private readonly containers: Containers,
    private readonly resolver: Resolver,
  ) {
    this.shelf = intake.shelf
  }

  /** What is there; a user other than root sees what that user may have. */
  list(uid = 0): ImageRow[] {
    const seen = this.shelf.records().filter((record) => uid === 0 || this.resolver.isGranted(record, uid))
    return seen.map(({ key, references, digest, size, created, used, pinned, reused, signer }) => ({
      ...{ key, digest, size, created, pinned, reused, reference: references[0] ?? '' },
      ...(signer === undefined ? {} : { signer }),
      used: Math.floor(used / 1000),
      leases: this.devices.leases(key),
    }))
  }

  /** By key, digest or name, one or several. @throws BerthError BERTH_ENOSUCHIMAGE, BERTH_EINUSE */
  async remove(names: string | readonly string[]): Promise<Removed[]> {
    const chosen = [names].flat().flatMap((name) => this.named(name))
    for (const { key, references } of chosen) {
      const count = this.devices.leases(key)
      if (count > 0) throw new BerthError('BERTH_EINUSE', { image: references[0] ?? key, count })
      const containers = this.containers.on(key).map(({ uid, name }) => `${name} (user ${uid})`)
      if (containers.length > 0)
        throw new BerthError('BERTH_EIMAGEUSED', {
          image: references[0] ?? key,
          containers: containers.join(', '),
        })
    }
    return [...new Set(chosen.map(({ key }) => key))].map((key) => {
      this.devices.drop(key)
      return this.shelf.remove(key)
    })
  }

  /** A pinned image is not collected. Answers their keys. @throws BerthError BERTH_ENOSUCHIMAGE */
  pin(names: readonly string[], pinned: boolean): string[] {
    const keys = new Set(names.flatMap((name) => this.named(name)).map(({ key }) => key))
    for (const key of keys) this.shelf.note(key, { pinned })
    return [...keys]
  }

  /** All images, or those of that name. @throws BerthError BERTH_ENOSUCHIMAGE */
  scrub(names: readonly string[], remove: boolean, turn: ScrubTurn): Promise<Scrubbed[]> {
    const records = names.length === 0 ? this.shelf.records() : names.flatMap((name) => this.named(name))
    const subjects = ownSubjects(this.intake, records, (key) => this.devices.retire(key))
    return scrubImages(this.intake, subjects, remove, turn)
  }

  /** All that is published in a store of several nodes. */
  async scrubShared(shared: Shared, remove: boolean, turn: ScrubTurn): Promise<Scrubbed[]> {
    const subjects = await sharedSubjects(shared, this.shelf, (key) => this.devices.retire(key))
    return scrubImages(this.intake, subjects, remove, turn)
  }

  /** How much users have written in named containers; from now on the quota knows of it. */
  async countContainers(): Promise<{ count: number; bytes: number; unreadable: ContainerId[] }> {
    const all = this.containers.list()
    const sizes = await Promise.all(all.map((container) => this.containers.size(container)))
    const bytes = sizes.reduce((sum, size) => sum + size, 0)
    this.shelf.others = bytes
    return { count: all.length, bytes, unreadable: this.containers.unreadable() }
  }

  /** Makes room for so many bytes within quota and floor, or removes all that is neither pinned nor in use. */
  async collect(request: number | { all: boolean } = 0): Promise<{ removed: Removed[] }> {
    if (typeof request === 'object' && request.all) {
      const isFree = (key: string) => this.devices.leases(key) === 0 && !this.containers.need(key)
      const idle = this.shelf.records().filter(({ key, pinned }) => !pinned && isFree(key))
      return { removed: await this.remove(idle.map(({ key }) => key)) }
    }
    return { removed: this.shelf.collect(typeof request === 'number' ? request : 0) }
  }

  private named(name: string): StoreRecord[] {
    const records = this.shelf.records()
    const canonical =
      isDigest(name) || this.shelf.byKey(name) !== undefined ? undefined : parseReference(name).canonical
    const found = records.filter(({ key, digest, aliases, references }) => {
      if (canonical !== undefined) return references.includes(canonical)
      return key === name || digest === name || aliases.includes(name)
    })
    if (found.length === 0) throw new BerthError('BERTH_ENOSUCHIMAGE', { image: name })
    return found
  }
}
