// SPDX-License-Identifier: Apache-2.0
/**
 * All CDI devices that this node offers: *.json, *.yaml and *.yml of the directories, a later directory over an earlier
 * one. The same device in two files of one directory is usable from neither. A file that cannot be read takes only its
 * own devices away (pkg/cdi of the reference implementation).
 */

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { type CdiDevice, type CdiSpec, parseCdi } from './cdi_spec.js'
import { DocumentProblem } from './document.js'
import { listTrusted, readTrusted } from './trusted_file.js'

export interface CdiEntry {
  device: CdiDevice
  spec: CdiSpec
  file: string
}

export interface CdiCatalog {
  /** By vendor.com/class=name. */
  devices: ReadonlyMap<string, CdiEntry>
  /** Names that two files of one directory have. */
  conflicts: ReadonlyMap<string, readonly string[]>
  /** Files and directories that were not used. */
  problems: readonly { file: string; problem: string }[]
}

const ENDINGS = ['.json', '.yaml', '.yml']
const FILES_MAX = 256

interface Read {
  /** size, times and inode of the file that was parsed. */
  stamp: string
  spec?: CdiSpec
  problem?: string
}

/** Parsed once and again when a file changes: generators rewrite theirs at boot and when a driver changes. */
const known = new Map<string, Read>()

export function readCdiCatalog(directories: readonly string[]): CdiCatalog {
  const devices = new Map<string, CdiEntry>()
  const conflicts = new Map<string, string[]>()
  const problems: { file: string; problem: string }[] = []
  for (const directory of directories) {
    const names = listTrusted(directory, ENDINGS)
    if (names instanceof Error) {
      problems.push({ file: directory, problem: names.message })
      continue
    }
    const here = new Map<string, CdiEntry[]>()
    for (const name of names.slice(0, FILES_MAX)) {
      const file = join(directory, name)
      const { spec, problem } = readFile(file)
      if (problem !== undefined) problems.push({ file, problem })
      for (const device of spec?.devices ?? []) {
        const qualified = `${spec?.kind}=${device.name}`
        if (spec !== undefined) here.set(qualified, [...(here.get(qualified) ?? []), { device, spec, file }])
      }
    }
    for (const [name, [entry, ...others]] of here) {
      devices.delete(name)
      conflicts.delete(name)
      if (entry === undefined) continue
      if (others.length === 0) devices.set(name, entry)
      else
        conflicts.set(
          name,
          [entry, ...others].map(({ file }) => file),
        )
    }
  }
  return { devices, conflicts, problems }
}

function readFile(file: string): Read {
  const stamp = stampOf(file)
  const before = known.get(file)
  if (before !== undefined && before.stamp === stamp && stamp !== '') return before
  const read: Read = { stamp, ...parse(file) }
  known.set(file, read)
  return read
}

function parse(file: string): { spec?: CdiSpec; problem?: string } {
  const text = readTrusted(file)
  if (text instanceof Error) return { problem: text.message }
  try {
    return { spec: parseCdi(file, text) }
  } catch (error) {
    if (error instanceof DocumentProblem) return { problem: error.message }
    throw error
  }
}

function stampOf(file: string): string {
  try {
    const { ino, size, mtimeMs, ctimeMs, mode, uid } = statSync(file)
    return [ino, size, mtimeMs, ctimeMs, mode, uid].join(' ')
  } catch {
    return ''
  }
}
