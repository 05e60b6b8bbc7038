// SPDX-License-Identifier: Apache-2.0
/** Files that decide what a root process mounts: read only where nobody but root could have written them. */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  type Stats,
  statSync,
} from 'node:fs'
import { codeOf } from '../report/errors.js'

/** The largest that a generator writes, for a node of 16 GPUs with all driver files, is far below. */
const FILE_BYTES_MAX = 4 << 20
const WRITABLE_BY_OTHERS = 0o022
const { O_RDONLY, O_NONBLOCK } = constants

/** @returns the text, or an Error that says why it is not read */
export function readTrusted(file: string): string | Error {
  const bytes = readTrustedBytes(file, FILE_BYTES_MAX)
  return bytes instanceof Error ? bytes : bytes.toString('utf8')
}

/** @returns what is in it, or an Error that says why it is not read */
export function readTrustedBytes(file: string, bytesMax: number): Buffer | Error {
  const read = readRegular(file, bytesMax, true)
  return read instanceof Error ? read : read.bytes
}

/**
 * A regular file of at most `bytesMax`; a pipe in its place holds nobody up.
 * @param trustedOnly one that others can write is not read
 * @returns an Error that says why it is not read; the file system's own is its cause
 */
export function readRegular(
  file: string,
  bytesMax: number,
  trustedOnly: boolean,
): { bytes: Buffer; trusted: boolean } | Error {
  let fd: number
  try {
    fd = openSync(file, O_RDONLY | O_NONBLOCK)
  } catch (error) {
    return unreadable(error)
  }
  try {
    const status = fstatSync(fd)
    if (!status.isFile()) return new Error('is no regular file')
    const trusted = isTrusted(status)
    if (trustedOnly && !trusted) return new Error('is not read: others than root can write it')
    if (status.size > bytesMax) return new Error(`is larger than ${bytesMax} bytes`)
    return { bytes: readFileSync(fd), trusted }
  } catch (error) {
    return unreadable(error)
  } finally {
    closeSync(fd)
  }
}

function unreadable(error: unknown): Error {
  return new Error(`cannot be read: ${codeOf(error)}`, { cause: error })
}

/**
 * Names in it that end as asked, sorted; none where it does not exist.
 * @returns an Error for a directory in which others can put files
 */
export function listTrusted(directory: string, endings: readonly string[]): string[] | Error {
  try {
    if (!isTrusted(statSync(directory))) return new Error('is not read: others than root can write it')
    return readdirSync(directory)
      .filter((name) => !name.startsWith('.') && endings.some((ending) => name.endsWith(ending)))
      .sort()
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? [] : new Error(`cannot be read: ${codeOf(error)}`)
  }
}

/** Of the worker's own user too, which is root except in tests of single files. */
export function isTrusted({ uid, mode }: Stats): boolean {
  const mine = uid === 0 || uid === process.geteuid?.()
  return mine && (mode & WRITABLE_BY_OTHERS) === 0
}
