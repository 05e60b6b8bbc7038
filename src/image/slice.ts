// SPDX-License-Identifier: Apache-2.0
/** A part of a seekable file that is already open; several may share one descriptor. */
import { fstatSync, read } from 'node:fs'
import { promisify } from 'node:util'

const readAt = promisify(read)

/** Large enough for few system calls, small enough for a handful in flight. */
const PIECE_BYTES = 256 << 10

export interface Slice {
  fd: number
  start: number
  size: number
}

export function wholeFile(fd: number): Slice {
  return { fd, start: 0, size: fstatSync(fd).size }
}

/** Bytes [from, from + length) of the slice, fewer where it ends. */
export async function readSlice(slice: Slice, from: number, length: number): Promise<Buffer> {
  const wanted = Math.max(0, Math.min(length, slice.size - from))
  const buffer = Buffer.allocUnsafe(wanted)
  let done = 0
  while (done < wanted) {
    const { bytesRead } = await readAt(slice.fd, buffer, done, wanted - done, slice.start + from + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return buffer.subarray(0, done)
}

export async function* streamSlice(slice: Slice, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < slice.size; ) {
    signal?.throwIfAborted()
    const piece = await readSlice(slice, at, PIECE_BYTES)
    if (piece.length === 0) return
    at += piece.length
    yield piece
  }
}
