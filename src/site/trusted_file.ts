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
  let fd: number
  try {
    fd = openSync(file, O_RDONLY | O_NONBLOCK)
  } catch (error) {
    return new Error(`cannot be read: ${codeOf(error)}`)
  }
  try {
    const status = fstatSync(fd)
    if (!status.isFile()) return new Error('is no regular file')
    if (!isTrusted(status)) return new Error('is not read: others than root can write it')
    if (status.size > bytesMax) return new Error(`is larger than ${bytesMax} bytes`)
    return readFileSync(fd)
  } catch (error) {
    return new Error(`cannot be read: ${codeOf(error)}`)
  } finally {
    closeSync(fd)
  }
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

/** Of a file system's error. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
