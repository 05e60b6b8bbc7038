// SPDX-License-Identifier: Apache-2.0
/** The wire format of slurm/protocol.h in TypeScript: encode, and decode from arbitrary pieces. */
import { BerthError } from '../report/errors.js'

export const PROTOCOL_VERSION = 1
/** Same bound as BERTH_FRAME_MAX: a job's whole environment fits. */
export const FRAME_BYTES_MAX = 1 << 20
/** BERTH_FRAME_FDS_MAX. */
const FRAME_FDS_MAX = 8
const HEADER_BYTES = 8
const FIELD_BYTES = 8

export const Type = {
  CHECK: 1,
  REGISTER: 2,
  TASK: 3,
  HELLO: 4,
  RELEASE: 5,
  PREFETCH: 6,
  CALL: 7,
  RUN: 8,
  ENDED: 9,
  TOLD: 10,
  ACK: 64,
  FAIL: 65,
  PROGRESS: 66,
  JOIN: 67,
  RESULT: 68,
  PRINT: 69,
  PIN: 70,
  LOGIN: 71,
  RESOLVE: 96,
  RESOLVED: 97,
  IMPORT: 98,
  IMPORTING: 99,
  IMPORTED: 100,
  OPEN: 101,
  OPENED: 102,
  ASKING: 103,
} as const

export const Tag = {
  OPTION: 1,
  ENV: 2,
  CWD: 3,
  JOB: 4,
  STEP: 5,
  UID: 6,
  GID: 7,
  GIDS: 8,
  NODE: 9,
  LOCAL_TASKS: 10,
  TOTAL_TASKS: 11,
  RESTART: 12,
  CONTEXT: 13,
  SCRIPT: 14,
  LOCAL_ID: 15,
  GLOBAL_ID: 16,
  PID: 17,
  TTY: 18,
  ARGV0: 19,
  HANDLE: 20,
  TICKET: 21,
  TEXT: 22,
  CODE: 23,
  HINT: 24,
  EXIT: 25,
  ENV_SET: 26,
  ENV_DEFAULT: 27,
  ENV_UNSET: 28,
  NS: 29,
  FLAGS: 30,
  SECCOMP: 31,
  ARGV: 32,
  NAME: 33,
  ARG: 34,
  DATA: 35,
  REF: 36,
  DIGEST: 37,
  DONE: 38,
  TOTAL: 39,
  ENV_COPY: 40,
  ENTRYPOINT: 41,
  ENV_ENTRY: 42,
  ENV_KEEP: 43,
  LEASE: 44,
} as const

/** BERTH_FLAG_*: bits of Tag.FLAGS. */
export const Flag = {
  NO_NEW_PRIVS: 1,
  BARE: 2,
  ENTRYPOINT_LOG: 4,
  STAY: 8,
} as const

export type FrameType = (typeof Type)[keyof typeof Type]
export type FrameTag = (typeof Tag)[keyof typeof Tag]

/** A frame to send: strings are UTF-8, numbers u32 (u64 for DONE and TOTAL), bytes as they are. */
export type FieldValue = string | number | Uint8Array
export type Fields = readonly (readonly [FrameTag, FieldValue])[]

function fieldBytes(tag: FrameTag, value: FieldValue): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value, 'utf8')
  if (typeof value !== 'number') return value
  if (tag === Tag.DONE || tag === Tag.TOTAL) {
    const wide = Buffer.alloc(8)
    wide.writeBigUInt64LE(BigInt(value))
    return wide
  }
  const word = Buffer.alloc(4)
  word.writeUInt32LE(value >>> 0)
  return word
}

/** @throws RangeError when the frame would exceed FRAME_BYTES_MAX. */
export function encodeFrame(type: FrameType, fields: Fields = []): Buffer {
  const parts: Uint8Array[] = [Buffer.alloc(HEADER_BYTES)]
  let size = HEADER_BYTES - 4
  for (const [tag, value] of fields) {
    const bytes = fieldBytes(tag, value)
    const head = Buffer.alloc(FIELD_BYTES)
    head.writeUInt16LE(tag, 0)
    head.writeUInt32LE(bytes.length, 4)
    parts.push(head, bytes)
    size += FIELD_BYTES + bytes.length
  }
  if (size > FRAME_BYTES_MAX) throw new RangeError(`frame of ${size} bytes exceeds ${FRAME_BYTES_MAX}`)
  const header = parts[0] as Buffer
  header.writeUInt32LE(size, 0)
  header.writeUInt16LE(type, 4)
  header.writeUInt16LE(PROTOCOL_VERSION, 6)
  return Buffer.concat(parts)
}

/** A received frame; getters answer undefined for an absent field and throw ProtocolError for a malformed one. */
export class Frame {
  constructor(
    readonly type: number,
    private readonly fields: readonly (readonly [number, Buffer])[],
    /** Descriptors that came with the frame; the handler owns them. */
    readonly fds: number[] = [],
  ) {}

  bytes(tag: FrameTag): Buffer | undefined {
    return this.fields.find(([key]) => key === tag)?.[1]
  }
  text(tag: FrameTag): string | undefined {
    return this.bytes(tag)?.toString('utf8')
  }
  texts(tag: FrameTag): string[] {
    return this.fields.filter(([key]) => key === tag).map(([, value]) => value.toString('utf8'))
  }
  number(tag: FrameTag): number | undefined {
    const value = this.bytes(tag)
    if (value === undefined) return undefined
    if (value.length === 4) return value.readUInt32LE(0)
    if (value.length === 8) return Number(value.readBigUInt64LE(0))
    throw new ProtocolError(`field ${tag} is ${value.length} bytes, not a number`)
  }
  /** A u32 array field (GIDS). */
  numbers(tag: FrameTag): number[] {
    const value = this.bytes(tag) ?? Buffer.alloc(0)
    if (value.length % 4 !== 0) throw new ProtocolError(`field ${tag} is no array of words`)
    return Array.from({ length: value.length / 4 }, (_, index) => value.readUInt32LE(index * 4))
  }
  /** "K=V\0K=V\0" as pairs, in order; later duplicates win in a Map. */
  environment(): Map<string, string> {
    const result = new Map<string, string>()
    for (const entry of (this.text(Tag.ENV) ?? '').split('\0')) {
      const equals = entry.indexOf('=')
      if (equals > 0) result.set(entry.slice(0, equals), entry.slice(equals + 1))
    }
    return result
  }
}

export class ProtocolError extends Error {
  readonly code = 'BERTH_EPROTOCOL'
}

/** Idle connections must not keep the buffer of their last frame. */
const NOTHING = Buffer.alloc(0)

/** Collects pieces until whole frames are there. One per connection. */
export class FrameReader {
  /** What has come of a frame that is not whole yet, with room to grow: many small pieces must not cost more than one. */
  private pending: Buffer = NOTHING
  private length = 0
  private fds: number[] = []

  /** @throws ProtocolError, BerthError BERTH_EVERSION; the connection must then be closed, together with takeFds(). */
  push(bytes: Buffer, fds: number[] = []): Frame[] {
    this.fds.push(...fds)
    if (this.fds.length > FRAME_FDS_MAX) throw new ProtocolError(`${this.fds.length} descriptors in a frame`)
    const frames: Frame[] = []
    try {
      this.split(this.length === 0 ? bytes : this.joined(bytes), frames)
    } catch (error) {
      // Nobody gets to see the frames before the broken one.
      for (const frame of frames) this.fds.push(...frame.fds.splice(0))
      throw error
    }
    return frames
  }

  private split(bytes: Buffer, frames: Frame[]): void {
    let rest = bytes
    while (rest.length >= HEADER_BYTES) {
      const size = rest.readUInt32LE(0)
      if (size > FRAME_BYTES_MAX || size < HEADER_BYTES - 4) throw new ProtocolError(`frame of ${size} bytes`)
      if (rest.length < 4 + size) break
      const version = rest.readUInt16LE(6)
      if (version !== PROTOCOL_VERSION)
        throw new BerthError('BERTH_EVERSION', { theirs: version, ours: PROTOCOL_VERSION })
      const fields = decodeFields(rest.subarray(HEADER_BYTES, 4 + size))
      frames.push(new Frame(rest.readUInt16LE(4), fields, this.fds))
      this.fds = []
      rest = rest.subarray(4 + size)
    }
    // Frames that went out still point into what is pending now.
    if (rest.length === 0) this.pending = NOTHING
    else if (rest !== bytes || this.length === 0) this.pending = rest
    this.length = rest.length
  }

  /** What is pending with `bytes` after it. */
  private joined(bytes: Buffer): Buffer {
    const length = this.length + bytes.length
    if (length > this.pending.length) {
      const room = Math.min(2 * this.pending.length, FRAME_BYTES_MAX + HEADER_BYTES)
      const grown = Buffer.allocUnsafe(Math.max(length, room))
      this.pending.copy(grown, 0, 0, this.length)
      this.pending = grown
    }
    bytes.copy(this.pending, this.length)
    return this.pending.subarray(0, length)
  }

  /** Bytes that are kept for a frame which is not whole. */
  get held(): number {
    return this.length === 0 ? 0 : this.pending.buffer.byteLength
  }

  /** Descriptors of a frame that never became whole, to be closed. */
  takeFds(): number[] {
    return this.fds.splice(0)
  }
}

function decodeFields(body: Buffer): (readonly [number, Buffer])[] {
  const fields: (readonly [number, Buffer])[] = []
  let at = 0
  while (at < body.length) {
    if (body.length - at < FIELD_BYTES) throw new ProtocolError('field header cut off')
    const length = body.readUInt32LE(at + 4)
    const end = at + FIELD_BYTES + length
    if (end > body.length) throw new ProtocolError('field longer than its frame')
    fields.push([body.readUInt16LE(at), body.subarray(at + FIELD_BYTES, end)])
    at = end
  }
  return fields
}
