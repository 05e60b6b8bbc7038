// SPDX-License-Identifier: Apache-2.0
/**
 * What the store and its sharer say to each other: CALL NAME(order) DATA(json) [fd] → IMPORTING DONE TOTAL* then
 * RESULT DATA(json) [fd] | FAIL DATA(json). Several orders may be under way; `id` in the data tells them apart.
 */
import type { ShareFailure } from './failure.js'

/** DATA of every frame. */
export interface Sent<T> {
  id: number
  /** Or the answer to it. */
  order: T
  /** A descriptor belongs to it; one read may bring it with the frame before. */
  hasFile: boolean
}

/** The sharer's settings, one JSON argument. */
export interface SharerSettings {
  directory: string
  /** The account that alone may write there, beside root. */
  uid: number
  /** How others see this node. */
  node: string
  /** A lease whose owner shows no sign of life for so long is taken over. */
  stale_ms: number
}

/** How far the import of a lease's owner is; compressed bytes and layers. */
export interface Share {
  done: number
  total: number
  layer: number
  layers: number
}

export interface Orders {
  check: { order: Record<never, never>; answer: ShareState }
  /** With a descriptor of the squashfs in the answer if there is one. */
  find: { order: { key: string }; answer: { record?: Record<string, unknown> } }
  acquire: { order: { key: string; place: string }; answer: Turn }
  /** Sent by the owner of a lease while it imports. */
  beat: { order: { key: string; place: string } & Share; answer: Record<never, never> }
  release: { order: { key: string; place: string }; answer: Record<never, never> }
  /** With a descriptor of the squashfs; gives the lease back, whatever happens. */
  publish: {
    order: { key: string; place: string; record: Record<string, unknown> }
    answer: { published: boolean }
  }
  /** With the descriptor of an empty file, which gets the squashfs if it is what was published. */
  copy: { order: { key: string }; answer: { outcome: 'copied' | 'damaged' | 'absent' } }
  /** A use, for who collects what nobody uses. */
  touch: { order: { keys: string[] }; answer: Record<never, never> }
  list: { order: Record<never, never>; answer: { images: SharedRow[] } }
  remove: { order: { keys: string[] }; answer: { removed: { key: string; size: number }[] } }
  collect: { order: { unused_s: number }; answer: { removed: { key: string; size: number }[] } }
}

export type OrderName = keyof Orders

export interface ShareState {
  /** Why it is not used at all. */
  failure?: ShareFailure
  writable: boolean
  /** f_type of statfs(2). */
  filesystem: number
}

export type Turn =
  /** It is there, and that place may speak for it. */
  | { state: 'published'; record: Record<string, unknown> }
  /** This node is to import it; release or publish ends that. */
  | { state: 'mine' }
  | ({ state: 'busy'; node: string } & Share)
  /** Leases cannot be written here. */
  | { state: 'readonly' }

export interface SharedRow {
  key: string
  reference: string
  digest: string
  size: number
  /** Seconds since the epoch. */
  created: number
  used: number
  /** Of its publication. */
  sha256: string
}
