// SPDX-License-Identifier: Apache-2.0
/**
 * /etc/ld.so.cache of a container to which the node adds libraries: the image's own entries, and one for each name that
 * the node's parts asked for (docs/decisions/0021-mpi-from-the-node.md). Written once for all of them; never made by
 * ldconfig, which would go by SONAMEs.
 */
import type { ImageFacts } from '../image/facts.js'
import { addEntries, type CacheEntry, writeCache } from '../image/ldcache.js'
import { BERTH_DEFAULT, type PlanInput } from './input.js'
import type { PlannedMount } from './spec.js'
import { plainIfWritable } from './writable.js'

/** A name that the loader is asked for, and the file of the container that answers it, before the image's own. */
export interface LoaderEntry {
  name: string
  path: string
  /** 32: of a program of the older kind; absent: as the image's own C library. */
  bits?: 32
}

const LD_CACHE = '/etc/ld.so.cache'
const FILE_MODE = 0o644
const X86_64 = 62
/** ldconfig's flags of a glibc library (sysdeps/generic/ldconfig.h), by EM_… of elf.h. */
const CACHE_FLAGS: Readonly<Record<number, number>> = { [X86_64]: 0x303, 183: 0xa03, 21: 0x503, 243: 0x1003 }
/** A glibc library without a mark of its processor, and so those of i386. */
const PLAIN_FLAGS = 0x3

/** Only glibc's loader reads one; of an image that nobody has looked at nothing is known. */
export function hasLoaderCache({ image }: PlanInput): boolean {
  return image.facts?.libc.kind === 'glibc'
}

/** @returns no step where the loader has nothing to be told, or would not listen */
export function planLoaderCache(input: PlanInput, entries: readonly LoaderEntry[]): PlannedMount[] {
  const { facts } = input.image
  if (facts === undefined || entries.length === 0 || !hasLoaderCache(input)) return []
  return [
    {
      kind: 'file',
      target: LD_CACHE,
      content: cacheWith(facts, entries),
      mode: FILE_MODE,
      replaceLink: true,
      // ldconfig renames a new file over it, which no mount point allows.
      ...plainIfWritable(input),
      reason: "the image's own entries, and where the node's libraries are",
      origin: BERTH_DEFAULT,
    },
  ]
}

function cacheWith({ cache: own = [], libc }: ImageFacts, entries: readonly LoaderEntry[]): Uint8Array {
  const usual =
    own.find(({ name }) => name === 'libc.so.6')?.flags ?? CACHE_FLAGS[libc.machine] ?? PLAIN_FLAGS
  const added = new Map<string, CacheEntry>()
  for (const { name, path, bits } of entries) {
    const flags = bits === 32 ? PLAIN_FLAGS : usual
    added.set(`${flags} ${name}`, { name, path, flags, hwcaps: '', mask: '' })
  }
  const rest = own.filter(({ flags, name }) => !added.has(`${flags} ${name}`))
  return writeCache(addEntries(rest, [...added.values()]))
}
