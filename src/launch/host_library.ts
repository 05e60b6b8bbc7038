// SPDX-License-Identifier: Apache-2.0
/** Libraries of the node: read only where none but root can have written them, since programs of every user map them. */
import { close as closeFile, open as openFile, statSync } from 'node:fs'
import { promisify } from 'node:util'
import { highestVersion } from '../image/elf_names.js'
import type { ElfFacts, Native } from '../native.js'
import type { LibraryNeed } from '../plan/accelerators.js'

const open = promisify(openFile)
const close = promisify(closeFile)

/**
 * @param exporters beginnings of the names whose symbols are wanted
 * @returns 'foreign' where others than root can change it; undefined for what is no ELF file
 */
export async function readHostLibrary(
  native: Pick<Native, 'onlyRootWrote' | 'readElf'>,
  path: string,
  exporters: string[],
): Promise<ElfFacts | 'foreign' | undefined> {
  const fd = await open(path, 'r')
  try {
    if (!(await native.onlyRootWrote(fd))) return 'foreign'
    return await native.readElf(fd, path, { prefixes: [], exporters, texts: {}, threads: 1 })
  } finally {
    await close(fd)
  }
}

/** By path, as long as the file is the same: a driver has forty, and they change with the driver. */
const known = new Map<string, { stamp: string; need: LibraryNeed | undefined }>()

/** Those that cannot be read, or not be trusted, are missing in the answer. */
export async function libraryNeeds(
  native: Pick<Native, 'onlyRootWrote' | 'readElf'>,
  paths: Iterable<string>,
): Promise<Map<string, LibraryNeed>> {
  const needs = new Map<string, LibraryNeed>()
  for (const path of new Set(paths)) {
    const stamp = stampOf(path)
    const before = known.get(path)
    const need = before?.stamp === stamp ? before.need : await readNeed(native, path)
    known.set(path, { stamp, need })
    if (need !== undefined) needs.set(path, need)
  }
  return needs
}

async function readNeed(
  native: Pick<Native, 'onlyRootWrote' | 'readElf'>,
  path: string,
): Promise<LibraryNeed | undefined> {
  const facts = await readHostLibrary(native, path, []).catch(() => undefined)
  if (facts === undefined || facts === 'foreign') return undefined
  return { bits: facts.bits, glibc: highestVersion(facts.versionsNeeded, 'GLIBC_'), soname: facts.soname }
}

/** Changes with the file; '' where there is none, or a dead file system does not say. */
export function stampOf(path: string): string {
  try {
    const status = statSync(path, { throwIfNoEntry: false, bigint: true })
    return status === undefined ? '' : `${status.dev}-${status.ino}-${status.size}-${status.mtimeNs}`
  } catch {
    return ''
  }
}
