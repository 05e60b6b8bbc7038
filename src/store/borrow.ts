// SPDX-License-Identifier: Apache-2.0
/** Stored images while they lend layers: open, and not collected. */
import { closeSync, openSync } from 'node:fs'
import type { ReuseOrder } from '../image/wire.js'
import { chooseBases, type NewImage } from './reuse.js'
import type { Shelf } from './shelf.js'

export interface Borrowed {
  fds: number[]
  layers: ReuseOrder[]
  /** Whose importers read what is lent. */
  importers: number[]
  release: () => void
}

/** What the store can lend to an image; nothing when a file is not as it should be. */
export function borrow(shelf: Shelf, image: NewImage, formats: readonly string[]): Borrowed {
  const { records, layers } = chooseBases(shelf.records(), image, formats)
  const fds: number[] = []
  const free = shelf.hold(records.map(({ key }) => key))
  const release = () => {
    for (const fd of fds.splice(0)) closeSync(fd)
    free()
  }
  try {
    for (const { path } of records) fds.push(openSync(path, 'r'))
  } catch {
    release()
    return { fds: [], layers: [], importers: [], release: () => {} }
  }
  return { fds, layers, importers: records.flatMap(({ importers }) => importers), release }
}
