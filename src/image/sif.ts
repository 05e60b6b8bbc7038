// SPDX-License-Identifier: Apache-2.0
/**
 * SIF, the image files of Apptainer and Singularity: which part of one is the root file system. Layout of version 01 (the
 * sif library, pkg/sif: little endian, packed): a header of 128 bytes, a table of descriptors of 585 bytes each, data.
 */
import { fstatSync, readSync } from 'node:fs'
import { BerthError } from '../report/errors.js'
import { checkPlatform, type HostPlatform } from './platform.js'

/** Where the root file system lies, in bytes from the start of the file. */
export interface SifPartition {
  offset: number
  size: number
  /** As OCI spells it; '' when the file does not say. */
  architecture: string
}

/** What its header and table said when they were read: nobody asks the file again, which its owner may change. */
export interface Sif {
  partition: SifPartition
  header: Buffer
  /** Descriptors in use. */
  entries: readonly Buffer[]
  /** Of the partition, one of them. */
  primary: Buffer
}

/** Behind the line for the shell. */
const MAGIC = Buffer.from('SIF_MAGIC\0')
const MAGIC_AT = 32
/** Enough of a file to know it as one. */
export const SIF_MAGIC_BYTES = MAGIC_AT + MAGIC.length
const VERSION_AT = 42
const VERSION = '01'
const HEADER_BYTES = 128
const TABLE_COUNT_AT = 88
const TABLE_AT = 96
const DESCRIPTOR_BYTES = 585
/** The tools make 48; a file with more than this holds something else than an image. */
const DESCRIPTORS_MAX = 1024
/** Of a descriptor. */
const USED_AT = 4
const OFFSET_AT = 17
const SIZE_AT = 25
export const EXTRA_AT = 201
const PARTITION = 0x4004
const OCI_INDEX = 0x400a
/** Kinds of partitions: what runs, and what is laid over it. */
const PRIMARY = 2
const OVERLAY = 4
const SQUASHFS = 1

const BOTH = 'apptainer, or singularity,'
/** What else a partition may hold (FsExt3 to FsGocryptfsSquashfs), and who can run that. */
const OTHER_SYSTEMS: Record<number, [problem: string, engine: string]> = {
  2: ['holds an ext3 file system', BOTH],
  3: ['holds an archive', BOTH],
  4: ['is encrypted', BOTH],
  5: ['holds raw data', BOTH],
  6: ['is encrypted', 'apptainer'],
}

const ARCHITECTURES: Record<string, string> = {
  '01': '386',
  '02': 'amd64',
  '03': 'arm',
  '04': 'arm64',
  '05': 'ppc64',
  '06': 'ppc64le',
  '11': 's390x',
  '12': 'riscv64',
}

/** @param start of the file, SIF_MAGIC_BYTES at least */
export function isSif(start: Buffer): boolean {
  return start.subarray(MAGIC_AT, SIF_MAGIC_BYTES).equals(MAGIC)
}

/** Undefined: no SIF. @throws BerthError BERTH_ESIF, BERTH_ESIFENGINE, BERTH_EPLATFORM */
export function readSif(fd: number, path: string, host: HostPlatform): Sif | undefined {
  const header = readAt(fd, 0, HEADER_BYTES)
  if (!isSif(header)) return undefined
  const refuse: Refuse = (problem, engine) => {
    if (engine === undefined) throw new BerthError('BERTH_ESIF', { path, problem })
    throw new BerthError('BERTH_ESIFENGINE', { path, problem, engine })
  }
  if (header.length < HEADER_BYTES) return refuse('ends within its header')
  const version = header.toString('latin1', VERSION_AT, VERSION_AT + VERSION.length)
  if (version !== VERSION) return refuse(`has the unknown version ${JSON.stringify(version)}`, BOTH)
  const fileSize = fstatSync(fd).size
  const count = takeNumber(header, TABLE_COUNT_AT)
  const start = takeNumber(header, TABLE_AT)
  if (count > DESCRIPTORS_MAX || start + count * DESCRIPTOR_BYTES > fileSize)
    return refuse('has a damaged table of contents')
  const table = readAt(fd, start, count * DESCRIPTOR_BYTES)
  const entries = Array.from({ length: count }, (_, index) =>
    table.subarray(index * DESCRIPTOR_BYTES, (index + 1) * DESCRIPTOR_BYTES),
  ).filter((entry) => entry.length === DESCRIPTOR_BYTES && entry[USED_AT] === 1)
  const primary = choose(entries, refuse)
  const code = primary.toString('latin1', EXTRA_AT + 8, EXTRA_AT + 10)
  const partition = { ...placeOf(primary), architecture: ARCHITECTURES[code] ?? '' }
  if (partition.offset + partition.size > fileSize) return refuse('ends before its file system does')
  checkPlatform({ os: '', architecture: partition.architecture, variant: '' }, host)
  return { partition, header, entries, primary }
}

/** Where the content of an object lies. */
export function placeOf(entry: Buffer): { offset: number; size: number } {
  return { offset: takeNumber(entry, OFFSET_AT), size: takeNumber(entry, SIZE_AT) }
}

/** With an engine: it is no damage, that one can run it. */
type Refuse = (problem: string, engine?: string) => never

function choose(entries: readonly Buffer[], refuse: Refuse): Buffer {
  const typed = (type: number) => entries.filter((entry) => entry.readInt32LE(0) === type)
  const partitions = typed(PARTITION)
  const kindOf = (entry: Buffer) => entry.readInt32LE(EXTRA_AT + 4)
  const [primary, ...others] = partitions.filter((entry) => kindOf(entry) === PRIMARY)
  if (primary === undefined)
    return typed(OCI_INDEX).length > 0
      ? refuse('is an OCI-SIF', 'singularity --oci')
      : refuse('holds no system to run')
  if (others.length > 0) return refuse('holds several systems to run')
  const system = primary.readInt32LE(EXTRA_AT)
  if (system !== SQUASHFS)
    return refuse(...(OTHER_SYSTEMS[system] ?? [`holds a file system of type ${system}`, BOTH]))
  if (partitions.some((entry) => kindOf(entry) === OVERLAY))
    return refuse('holds an overlay over its file system', BOTH)
  return primary
}

/** What no file can have becomes what no file has. */
function takeNumber(bytes: Buffer, at: number): number {
  const value = bytes.readBigInt64LE(at)
  return value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value)
}

/** Shorter at the end of the file. */
export function readAt(fd: number, start: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes)
  let done = 0
  while (done < bytes) {
    const got = readSync(fd, buffer, done, bytes - done, start + done)
    if (got === 0) break
    done += got
  }
  return buffer.subarray(0, done)
}
