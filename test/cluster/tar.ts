// SPDX-License-Identifier: Apache-2.0
/** Writes small tar archives entry by entry, honest or hostile: whatever name is given stands in the header. */

export interface TarEntry {
  name: string
  /** '0' file, '1' hard link, '2' symlink, '3' char device, '5' directory. */
  type?: '0' | '1' | '2' | '3' | '5'
  content?: string | Uint8Array
  link?: string
  mode?: number
  uid?: number
  gid?: number
  /** Written as the size field in place of the content's length. */
  claimedSize?: number
}

const BLOCK = 512

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`
}

function header(entry: TarEntry, size: number): Buffer {
  const block = Buffer.alloc(BLOCK)
  const directory = entry.type === '5'
  const mode = entry.mode ?? (directory ? 0o755 : 0o644)
  block.write(entry.name, 0, 100, 'latin1')
  block.write(octal(mode, 8), 100, 'latin1')
  block.write(octal(entry.uid ?? 0, 8), 108, 'latin1')
  block.write(octal(entry.gid ?? 0, 8), 116, 'latin1')
  block.write(octal(entry.claimedSize ?? size, 12), 124, 'latin1')
  block.write(octal(1_700_000_000, 12), 136, 'latin1')
  block.write('        ', 148, 'latin1')
  block.write(entry.type ?? '0', 156, 'latin1')
  block.write(entry.link ?? '', 157, 100, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** ustar with names and links up to 100 bytes, enough for what tests build by hand. */
export function makeTar(entries: readonly TarEntry[]): Buffer {
  const parts: Buffer[] = []
  for (const entry of entries) {
    const content = Buffer.from(entry.content ?? '')
    parts.push(header(entry, content.length), content)
    parts.push(Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK))
  }
  parts.push(Buffer.alloc(2 * BLOCK))
  return Buffer.concat(parts)
}
