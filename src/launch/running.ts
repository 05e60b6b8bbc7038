// SPDX-License-Identifier: Apache-2.0
/**
 * Containers that run, so that others can join them: each is its namespaces, used by the step that made them and those
 * that joined. Of a named one also the root on disk, which all its instances share.
 */
import { close, openSync } from 'node:fs'
import type { StoredImage } from '../image/image.js'
import type { Request } from '../request/request.js'
import type { StepId } from '../request/step_name.js'
import { closeNamespaces, endProcesses, type Namespaces } from './namespaces.js'

export interface InstanceFacts extends StepId {
  uid: number
  /** Of a named container; absent: it is known by its step. */
  key?: string
  /** What it was started with; absent after a worker's restart when only those who joined are left. */
  request: Request
  image?: StoredImage
}

export interface Instance extends InstanceFacts {
  namespaces: Namespaces
  users: number
  /** What is to be done when the last has left. */
  atEnd?: () => Promise<void>
}

/** A kernel that takes longer to let go of a root is asked by trying, see buildNamed(). */
const CLOSE_WAIT_MS_MAX = 5000

export class Running {
  private readonly instances = new Set<Instance>()
  private readonly roots = new Map<string, number>()
  private readonly holds = new Map<string, number>()
  private readonly turns = new Map<string, Promise<unknown>>()
  private readonly closing = new Map<string, Promise<void>>()
  private readonly waiting = new Map<string, (() => void)[]>()

  /** One at a time for each name, in the order of asking. */
  async inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.turns.get(key)
    const mine = (async () => {
      await before?.catch(() => undefined)
      return work()
    })()
    this.turns.set(key, mine)
    try {
      return await mine
    } finally {
      if (this.turns.get(key) === mine) this.turns.delete(key)
    }
  }

  named(key: string): Instance | undefined {
    return [...this.instances].find((instance) => instance.key === key)
  }

  allNamed(key: string): Instance[] {
    return [...this.instances].filter((instance) => instance.key === key)
  }

  /** The unnamed container of a step of this user. */
  ofStep(uid: number, { job, step }: StepId): Instance | undefined {
    return [...this.instances].find(
      (one) => one.key === undefined && one.uid === uid && one.job === job && one.step === step,
    )
  }

  /** Takes the descriptors over; whoever uses it calls use(). */
  add(facts: InstanceFacts, namespaces: Namespaces): Instance {
    const instance: Instance = { ...facts, namespaces, users: 0 }
    this.instances.add(instance)
    return instance
  }

  /** After a restart: a step lives in `namespaces`, which stay the caller's. */
  adopt(facts: InstanceFacts, namespaces: Namespaces): Instance {
    const known = [...this.instances].find((one) => one.namespaces.ids.mnt === namespaces.ids.mnt)
    if (known !== undefined) return known
    const fds = namespaces.fds.map(({ name, fd }) => ({ name, fd: openSync(`/proc/self/fd/${fd}`, 'r') }))
    return this.add(facts, { ...namespaces, fds })
  }

  /** Counts a step in; answers the way out. */
  use(instance: Instance): () => void | Promise<void> {
    instance.users += 1
    let counted = true
    return () => {
      if (!counted) return undefined
      counted = false
      instance.users -= 1
      return instance.users === 0 ? this.end(instance) : undefined
    }
  }

  /** While an instance is built on it the root of that name stays, though others end. */
  async holding<T>(key: string, work: () => Promise<T>): Promise<T> {
    this.holds.set(key, (this.holds.get(key) ?? 0) + 1)
    try {
      return await work()
    } finally {
      const left = (this.holds.get(key) ?? 1) - 1
      if (left > 0) this.holds.set(key, left)
      else this.holds.delete(key)
      if (left === 0 && this.named(key) === undefined) this.leave(key, [])
    }
  }

  /** Where the root of a running named container is mounted for all of its instances. */
  root(key: string): number | undefined {
    return this.roots.get(key)
  }

  /** Takes the descriptor over. */
  keepRoot(key: string, rootNs: number): void {
    this.roots.set(key, rootNs)
  }

  /** What runs goes on under another key: the old one is free for a new container. */
  rename(key: string, other: string): void {
    for (const instance of this.instances) if (instance.key === key) instance.key = other
    for (const kept of [this.roots, this.closing] as Map<string, unknown>[]) {
      const value = kept.get(key)
      kept.delete(key)
      if (value !== undefined) kept.set(other, value)
    }
  }

  /** When what was closed last is closed; without waiting for what runs. */
  async settled(key: string): Promise<void> {
    const closing = this.closing.get(key)
    if (closing === undefined) return
    const timeout = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_WAIT_MS_MAX).unref())
    await Promise.race([closing, timeout])
  }

  /** When no instance is left and the kernel was told. */
  async afterUse(key: string): Promise<void> {
    if (this.named(key) !== undefined) {
      await new Promise<void>((resolve) => {
        this.waiting.set(key, [...(this.waiting.get(key) ?? []), resolve])
      })
    }
    await this.settled(key)
  }

  private end(instance: Instance): Promise<void> | undefined {
    this.instances.delete(instance)
    const { key, namespaces } = instance
    endProcesses(namespaces)
    if (key === undefined) {
      closeNamespaces(namespaces)
      return instance.atEnd?.()
    }
    const open = namespaces.fds.splice(0).map(({ fd }) => fd)
    if (this.named(key) === undefined && !this.holds.has(key)) this.leave(key, open)
    else this.closeLater(key, open)
    return instance.atEnd?.()
  }

  /** The last one out closes the root too. */
  private leave(key: string, open: readonly number[]): void {
    const root = this.roots.get(key)
    this.roots.delete(key)
    this.closeLater(key, root === undefined ? open : [...open, root])
    for (const tell of this.waiting.get(key) ?? []) tell()
    this.waiting.delete(key)
  }

  /** The last one out makes overlayfs sync the disk, which may take long: never on the loop. */
  private closeLater(key: string, fds: readonly number[]): void {
    const closed = fds.map((fd) => new Promise<void>((resolve) => close(fd, () => resolve())))
    const all = Promise.all([this.closing.get(key), ...closed]).then(() => {
      // Under whatever key it is by then.
      for (const [name, last] of this.closing) if (last === all) this.closing.delete(name)
    })
    this.closing.set(key, all)
  }
}
