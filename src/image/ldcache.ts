// SPDX-License-Identifier: Apache-2.0
/**
 * /etc/ld.so.cache of glibc: read and written as bytes (the format "1.1" of glibc 2.2 and later, sysdeps/generic
 * dl-cache.h; the extension with hardware names of 2.33). Pure: an image's cache is parsed by the importer only.
 */

export interface CacheEntry {
  /** What a program asks for: libm.so.6. */
  name: string
  path: string
  /** Type and architecture, as ldconfig wrote them. */
  flags: number
  /** Subdirectory of glibc-hwcaps that it is for; '': for every processor. */
  hwcaps: string
  /** The older kind of hardware mask, as a hexadecimal number; '' for none. */
  mask: string
}

const MAGIC = 'glibc-ld.so.cache1.1'
const OLD_MAGIC = 'ld.so-1.7.0'
const OLD_HEADER_BYTES = 16
const OLD_ENTRY_BYTES = 12
const HEADER_BYTES = 48
const ENTRY_BYTES = 24
const LITTLE_ENDIAN = 2
const EXTENSION_MAGIC = 0xeaa42174
const TAG_HWCAPS = 1
/** DL_CACHE_HWCAP_EXTENSION: the low word is an index into the extension's names. */
const HWCAP_EXTENSION = 1 << 30
/** Four times what a node with every package of a distribution has. */
const ENTRIES_MAX = 20_000
const TEXT_BYTES_MAX = 4096

/** In the file's order, which is the loader's. Undefined: not of that format. */
export function parseCache(file: Buffer): CacheEntry[] | undefined {
  const data = newPart(file)
  if (data === undefined || data.length < HEADER_BYTES) return undefined
  const count = data.readUInt32LE(20)
  if (count > ENTRIES_MAX || HEADER_BYTES + count * ENTRY_BYTES > data.length) return undefined
  const hardware = hardwareNames(data)
  const entries: CacheEntry[] = []
  for (let at = HEADER_BYTES; entries.length < count; at += ENTRY_BYTES) {
    const name = textAt(data, data.readUInt32LE(at + 4))
    const path = textAt(data, data.readUInt32LE(at + 8))
    if (name === undefined || path === undefined) return undefined
    const low = data.readUInt32LE(at + 16)
    const high = data.readUInt32LE(at + 20)
    const extended = (high & HWCAP_EXTENSION) !== 0
    const hwcaps = extended ? hardware[low] : ''
    if (hwcaps === undefined) return undefined
    const mask =
      !extended && (low !== 0 || high !== 0) ? ((BigInt(high) << 32n) | BigInt(low)).toString(16) : ''
    entries.push({ name, path, flags: data.readInt32LE(at), hwcaps, mask })
  }
  return entries
}

/** Entries of a cache and more of them, in the order of the loader's search: names descending. */
export function addEntries(entries: readonly CacheEntry[], more: readonly CacheEntry[]): CacheEntry[] {
  const all = [...entries]
  for (const entry of more) {
    let low = 0
    let high = all.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (compareNames(all[middle]?.name ?? '', entry.name) > 0) low = middle + 1
      else high = middle
    }
    all.splice(low, 0, entry)
  }
  return all
}

/** A cache that the loader of glibc 2.2 and later reads. @param ordered as parseCache and addEntries give them */
export function writeCache(ordered: readonly CacheEntry[]): Buffer {
  const hardware = [...new Set(ordered.map(({ hwcaps }) => hwcaps))].filter((name) => name !== '').sort()
  const strings = new Strings(HEADER_BYTES + ordered.length * ENTRY_BYTES)
  const table = Buffer.alloc(ordered.length * ENTRY_BYTES)
  ordered.forEach((entry, index) => {
    const at = index * ENTRY_BYTES
    const mask = BigInt(`0x${entry.mask === '' ? '0' : entry.mask}`)
    table.writeInt32LE(entry.flags, at)
    const path = strings.add(entry.path)
    // The name is nearly always the end of the path, and the loader reads both up to a zero.
    const inPath = entry.path.endsWith(entry.name)
    const tail = inPath ? Buffer.byteLength(entry.path) - Buffer.byteLength(entry.name) : 0
    table.writeUInt32LE(inPath ? path + tail : strings.add(entry.name), at + 4)
    table.writeUInt32LE(path, at + 8)
    table.writeBigUInt64LE(mask, at + 16)
    if (entry.hwcaps === '') return
    table.writeUInt32LE(hardware.indexOf(entry.hwcaps), at + 16)
    table.writeUInt32LE(HWCAP_EXTENSION, at + 20)
  })
  const names = hardware.map((name) => strings.add(name))
  const text = strings.finish()
  const header = Buffer.alloc(HEADER_BYTES)
  header.write(MAGIC, 'latin1')
  header.writeUInt32LE(ordered.length, 20)
  header.writeUInt32LE(text.length, 24)
  header.writeUInt8(LITTLE_ENDIAN, 28)
  const extension = writeExtension(HEADER_BYTES + table.length + text.length, names)
  if (names.length > 0) header.writeUInt32LE(HEADER_BYTES + table.length + text.length, 32)
  return Buffer.concat([header, table, text, extension])
}

/** _dl_cache_libcmp of glibc: runs of digits are numbers. */
function compareNames(a: string, b: string): number {
  const left = a.match(/\d+|\D/g) ?? []
  const right = b.match(/\d+|\D/g) ?? []
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const x = left[i] ?? ''
    const y = right[i] ?? ''
    const digits = /^\d/.test(x)
    if (digits !== /^\d/.test(y)) return digits ? 1 : -1
    const order = digits ? Number(x) - Number(y) : x.charCodeAt(0) - y.charCodeAt(0)
    if (order !== 0) return order
  }
  return left.length - right.length
}

/** ldconfig before 2.32 wrote a file of the old format with the new one behind it. */
function newPart(file: Buffer): Buffer | undefined {
  if (file.toString('latin1', 0, MAGIC.length) === MAGIC) return file
  if (file.toString('latin1', 0, OLD_MAGIC.length) !== OLD_MAGIC || file.length < OLD_HEADER_BYTES)
    return undefined
  const end = OLD_HEADER_BYTES + file.readUInt32LE(12) * OLD_ENTRY_BYTES
  const start = Math.ceil(end / 8) * 8
  return file.toString('latin1', start, start + MAGIC.length) === MAGIC ? file.subarray(start) : undefined
}

function hardwareNames(data: Buffer): string[] {
  const start = data.readUInt32LE(32)
  if (start === 0 || start + 8 > data.length || data.readUInt32LE(start) !== EXTENSION_MAGIC) return []
  const sections = Math.min(data.readUInt32LE(start + 4), 16)
  for (let i = 0; i < sections && start + 24 + i * 16 <= data.length; i++) {
    const at = start + 8 + i * 16
    if (data.readUInt32LE(at) !== TAG_HWCAPS) continue
    const from = data.readUInt32LE(at + 8)
    const size = data.readUInt32LE(at + 12)
    if (size > 1024 || from + size > data.length) return []
    return Array.from({ length: size / 4 }, (_, n) => textAt(data, data.readUInt32LE(from + n * 4)) ?? '')
  }
  return []
}

function textAt(data: Buffer, from: number): string | undefined {
  if (from >= data.length) return undefined
  const end = data.subarray(from, from + TEXT_BYTES_MAX).indexOf(0)
  return end < 0 ? undefined : data.toString('utf8', from, from + end)
}

function writeExtension(start: number, names: readonly number[]): Buffer {
  if (names.length === 0) return Buffer.alloc(0)
  const extension = Buffer.alloc(24 + names.length * 4)
  extension.writeUInt32LE(EXTENSION_MAGIC, 0)
  extension.writeUInt32LE(1, 4)
  extension.writeUInt32LE(TAG_HWCAPS, 8)
  extension.writeUInt32LE(start + 24, 16)
  extension.writeUInt32LE(names.length * 4, 20)
  names.forEach((offset, index) => void extension.writeUInt32LE(offset, 24 + index * 4))
  return extension
}

class Strings {
  private text = ''
  private readonly known = new Map<string, number>()

  constructor(private end: number) {}

  add(text: string): number {
    const known = this.known.get(text)
    if (known !== undefined) return known
    const at = this.end
    this.text += `${text}\0`
    this.known.set(text, at)
    this.end += Buffer.byteLength(text) + 1
    return at
  }

  /** Padded, so that what follows is aligned. */
  finish(): Buffer {
    return Buffer.from(this.text + '\0'.repeat((4 - (this.end % 4)) % 4))
  }
}
