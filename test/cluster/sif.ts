// SPDX-License-Identifier: Apache-2.0
/** A small writer of SIF files, for images that no tool would make. */

export interface SifPart {
  /** DATA_PARTITION by default. */
  type?: number
  /** Of a partition: file system and kind; a primary system of squashfs by default. */
  system?: number
  kind?: number
  architecture?: string
  /** Object group, 1 by default; of a signature none, and what it is linked to. */
  group?: number
  link?: number
  /** Of a signature: of the key that made it, in hex. */
  fingerprint?: string
  content: Buffer
}

export const HEADER_BYTES = 128
export const DESCRIPTOR_BYTES = 585
export const PARTITION = 0x4004
export const SIGNATURE = 0x4005
/** Marks a number as a group's. */
export const GROUP_MASK = 0xf0000000
export const OCI_INDEX = 0x400a
export const SQUASHFS = 1
export const EXT3 = 2
export const ENCRYPTED = 4
export const PRIMARY = 2
export const OVERLAY = 4

const DESCRIPTORS = 48
/** As the real tools align what is mounted. */
const ALIGN_BYTES = 4096

/** The version-01 layout as apptainer 1.4 writes it. */
export function makeSif(parts: readonly SifPart[]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.write('#!/usr/bin/env run-singularity\n')
  header.write('SIF_MAGIC\x0001\x0002\0', 32, 'latin1')
  const table = Buffer.alloc(DESCRIPTORS * DESCRIPTOR_BYTES)
  const first = align(HEADER_BYTES + table.length)
  const start = HEADER_BYTES
  const numbers = [0, 0, DESCRIPTORS - parts.length, DESCRIPTORS, start, table.length, first]
  let at = first
  const data = parts.map((part, index) => {
    writeDescriptor(table.subarray(index * DESCRIPTOR_BYTES), part, index + 1, at)
    const padded = Buffer.concat([part.content], align(part.content.length))
    at += padded.length
    return padded
  })
  for (const [index, number] of [...numbers, at - first].entries())
    header.writeBigInt64LE(BigInt(number), 64 + 8 * index)
  return Buffer.concat([Buffer.concat([header, table], first), ...data])
}

function writeDescriptor(entry: Buffer, part: SifPart, id: number, at: number): void {
  const { type = PARTITION, system = SQUASHFS, kind = PRIMARY, architecture = '02', content } = part
  entry.writeInt32LE(type, 0)
  entry[4] = 1
  entry.writeUInt32LE(id, 5)
  entry.writeUInt32LE(GROUP_MASK + (part.group ?? (type === SIGNATURE ? 0 : 1)), 9)
  entry.writeUInt32LE(part.link ?? 0, 13)
  entry.writeBigInt64LE(BigInt(at), 17)
  entry.writeBigInt64LE(BigInt(content.length), 25)
  if (type === SIGNATURE) {
    entry.writeInt32LE(1, 201)
    entry.write(part.fingerprint ?? '', 205, 'hex')
  }
  if (type !== PARTITION) return
  entry.writeInt32LE(system, 201)
  entry.writeInt32LE(kind, 205)
  entry.write(`${architecture}\0`, 209, 'latin1')
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGN_BYTES) * ALIGN_BYTES
}
