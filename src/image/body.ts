// SPDX-License-Identifier: Apache-2.0
/** Small answers, read whole within a bound. */

/** @throws RangeError beyond `bytes_max`. */
export async function readBounded(body: AsyncIterable<Uint8Array>, bytes_max: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of body) {
    size += piece.length
    if (size > bytes_max) throw new RangeError(`more than ${bytes_max} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

export function headerText(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

export function headerTexts(value: string | string[] | undefined): string[] {
  if (value === undefined) return []
  return Array.isArray(value) ? value : [value]
}
