// SPDX-License-Identifier: Apache-2.0
/** Tar byte by byte, so that tests can say what no archiver would write. */

export interface TarEntry {
  name: string | Buffer
  /** Type flag: '0' file, '1' hard link, '2' symlink, '3' char, '4' block, '5' dir, '6' fifo. */
  type?: string
  mode?: number
  uid?: number
  gid?: number
  mtime?: number
  link?: string
  content?: Buffer | string
  /** Stated size, when it is not that of the content. */
  size?: number
  device?: [number, number]
  /** Records of a PAX header before the entry. */
  pax?: Record<string, string | Buffer>
  /** Changes the header's bytes before the checksum is made. */
  patch?: (header: Buffer) => void
}

const BLOCK = 512
/** Of a header; what is longer stands in a PAX header before it. */
const NAME_SIZE_MAX = 100

function octal(header: Buffer, value: number, offset: number, size: number): void {
  if (value >= 0 && value < 8 ** (size - 1)) {
    header.write(value.toString(8).padStart(size - 1, '0'), offset, 'latin1')
    return
  }
  // GNU's base 256: the first bit set, the number in the last bytes.
  header[offset] = value < 0 ? 0xff : 0x80
  const wide = Buffer.alloc(8)
  wide.writeBigInt64BE(BigInt(value))
  if (value < 0) header.fill(0xff, offset, offset + size)
  wide.copy(header, offset + size - Math.min(size - 1, 8), 8 - Math.min(size - 1, 8))
}

export function padded(content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)])
}

function record(key: string, value: string | Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as string), Buffer.from('\n')])
  let length = body.length + 1
  while (String(length).length + body.length !== length) length = String(length).length + body.length
  return Buffer.concat([Buffer.from(String(length)), body])
}

/** One entry with its PAX header, if any. */
export function entry(given: TarEntry): Buffer {
  const parts: Buffer[] = []
  const { name, link = '' } = given
  const pax = {
    ...(name.length > NAME_SIZE_MAX ? { path: name } : {}),
    ...(link.length > NAME_SIZE_MAX ? { linkpath: link } : {}),
    ...given.pax,
  }
  const records = Object.entries(pax).map(([key, value]) => record(key, value))
  if (records.length > 0) {
    parts.push(entry({ name: 'PaxHeader', type: 'x', content: Buffer.concat(records) }))
  }
  const content = Buffer.from(given.content ?? '')
  const header = Buffer.alloc(BLOCK)
  Buffer.from(name as string).copy(header, 0, 0, NAME_SIZE_MAX)
  octal(header, given.mode ?? (given.type === '5' ? 0o755 : 0o644), 100, 8)
  octal(header, given.uid ?? 0, 108, 8)
  octal(header, given.gid ?? 0, 116, 8)
  octal(header, given.size ?? content.length, 124, 12)
  octal(header, given.mtime ?? 1_600_000_000, 136, 12)
  header.write(given.type ?? '0', 156)
  header.write(link, 157, NAME_SIZE_MAX)
  header.write('ustar\x0000', 257, 'latin1')
  if (given.device !== undefined) {
    octal(header, given.device[0], 329, 8)
    octal(header, given.device[1], 337, 8)
  }
  given.patch?.(header)
  header.fill(' ', 148, 156)
  let sum = 0
  for (const byte of header) sum += byte
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  parts.push(header, padded(content))
  return Buffer.concat(parts)
}

export const END = Buffer.alloc(2 * BLOCK)

export function tar(...entries: TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(entry), END])
}

export const dir = (name: string, more: Partial<TarEntry> = {}): TarEntry => ({ name, type: '5', ...more })
export const file = (
  name: string,
  content: string | Buffer = name,
  more: Partial<TarEntry> = {},
): TarEntry => ({
  name,
  content,
  ...more,
})
export const symlink = (name: string, link: string): TarEntry => ({ name, type: '2', link, mode: 0o777 })
export const hardlink = (name: string, link: string): TarEntry => ({ name, type: '1', link })
export const whiteout = (directory: string, name: string): TarEntry => file(`${directory}.wh.${name}`, '')
export const opaque = (directory: string): TarEntry => file(`${directory}.wh..wh..opq`, '')
