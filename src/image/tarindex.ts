// SPDX-License-Identifier: Apache-2.0
/** Table of contents of a tar (POSIX pax, GNU) on a seekable file: headers only, members are read in place. */
import { refuse } from './manifest.js'
import { readSlice, type Slice } from './slice.js'

const BLOCK = 512
/** Image archives have three members a layer; a million headers would only cost time. */
const MEMBERS_MAX = 20_000
/** A long name or a pax record set; PATH_MAX is 4 KiB. */
const EXTENSION_BYTES_MAX = 64 << 10

export interface Member extends Slice {
  /** Target of a symbolic or hard link; the old docker archives link equal layers. */
  link?: string
}

/** @throws BerthError BERTH_EMANIFEST for what is no plain tar. */
export async function indexTar(file: Slice): Promise<Map<string, Member>> {
  const magic = await readSlice(file, 0, 6)
  if (/^(1f8b|28b52ffd|fd377a585a00|425a68)/.test(magic.toString('hex'))) {
    refuse('the archive is compressed as a whole, which cannot be read in place: decompress it first')
  }
  const members = new Map<string, Member>()
  let extended = new Map<string, string>()
  for (let at = 0; at + BLOCK <= file.size; ) {
    const header = await readSlice(file, at, BLOCK)
    if (header.length < BLOCK || header.every((byte) => byte === 0)) break
    const { type, size: told } = checkHeader(header)
    const size = Number(extended.get('size') ?? told)
    if (!Number.isSafeInteger(size) || size < 0 || at + BLOCK + size > file.size) {
      refuse('the archive is cut off or no tar archive')
    }
    const body = { fd: file.fd, start: file.start + at + BLOCK, size }
    if ('xLK'.includes(type)) {
      if (size > EXTENSION_BYTES_MAX) refuse('the archive has an oversized header')
      const bytes = await readSlice(body, 0, size)
      if (type === 'x') extended = new Map([...extended, ...paxRecords(bytes)])
      else extended.set(type === 'L' ? 'path' : 'linkpath', cString(bytes))
    } else {
      if (type !== 'g') addMember(members, header, extended, type, body)
      extended = new Map()
    }
    if (members.size > MEMBERS_MAX) refuse(`the archive has over ${MEMBERS_MAX} members`)
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
  }
  if (members.size === 0) refuse('the archive is empty or no tar archive')
  return members
}

function addMember(
  members: Map<string, Member>,
  header: Buffer,
  extended: Map<string, string>,
  type: string,
  body: Slice,
): void {
  const prefix = header.toString('latin1', 257, 262) === 'ustar' ? cString(header.subarray(345, 500)) : ''
  const short = cString(header.subarray(0, 100))
  const name = (extended.get('path') ?? (prefix === '' ? short : `${prefix}/${short}`)).replace(
    /^(\.\/)+/,
    '',
  )
  if (type === '1' || type === '2') {
    members.set(name, {
      ...body,
      size: 0,
      link: extended.get('linkpath') ?? cString(header.subarray(157, 257)),
    })
  } else if (type === '0' || type === '\0' || type === '7') members.set(name, body)
}

function checkHeader(header: Buffer): { type: string; size: number } {
  let sum = 0
  for (let at = 0; at < BLOCK; at++) sum += at >= 148 && at < 156 ? 32 : (header[at] ?? 0)
  if (sum !== number(header.subarray(148, 156))) refuse('the archive is damaged or no tar archive')
  return { type: String.fromCharCode(header[156] ?? 0), size: number(header.subarray(124, 136)) }
}

/** Octal digits, or GNU's base-256 with the top bit set. */
function number(field: Buffer): number {
  if (((field[0] ?? 0) & 0x80) === 0) return Number.parseInt(cString(field).trim() || '0', 8)
  let value = (field[0] ?? 0) & 0x7f
  for (const byte of field.subarray(1)) value = value * 256 + byte
  return value
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end)
}

/** `LENGTH KEY=VALUE\n` records; the length counts itself. */
function paxRecords(bytes: Buffer): Map<string, string> {
  const records = new Map<string, string>()
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(32, at)
    const length = Number(bytes.toString('latin1', at, Math.max(at, space)))
    if (space < 0 || !Number.isSafeInteger(length) || length <= space - at) break
    const record = bytes.toString('utf8', space + 1, at + length - 1)
    const equals = record.indexOf('=')
    if (equals > 0) records.set(record.slice(0, equals), record.slice(equals + 1))
    at += length
  }
  return records
}
