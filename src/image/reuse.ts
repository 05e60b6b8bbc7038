// SPDX-License-Identifier: Apache-2.0
/** A conversion that takes layers from stored images where it may, and all from the source where that fails. */
import { ftruncateSync } from 'node:fs'
import type { Native, SquashOptions, SquashResult } from '../native.js'
import { type ConvertProgress, convert, isOfStored } from './convert.js'
import type { ImageReader, OpenedImage } from './reader.js'
import type { ReuseOrder } from './wire.js'

const PROBLEM_CHARS_MAX = 200

interface Conversion {
  image: OpenedImage
  reader: ImageReader
  options: SquashOptions
  report: (progress: ConvertProgress) => void
}

interface Reuse {
  /** Descriptors of stored images. */
  images: number[]
  layers: ReuseOrder[]
}

type Converted = SquashResult & { reused: number; problem: string }

/** `problem`: why stored images were no use. @throws as convert() */
export async function convertReusing(
  native: Native,
  conversion: Conversion,
  reuse: Reuse,
): Promise<Converted> {
  const { image, reader, options, report } = conversion
  const layers = await onlyProved(image, reader, reuse.layers)
  const plain = async (problem: string) => {
    return { ...(await convert(image, reader, native.squash(options), report)), problem }
  }
  if (layers.length === 0) return plain('')
  const stored = new Set(layers.map(({ layer }) => layer))
  const attempt = () => {
    try {
      return native.squash({ ...options, reuse: { images: reuse.images, layers } })
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error))
    }
  }
  const engine = attempt()
  if (engine instanceof Error) return plain(describe(engine))
  try {
    return { ...(await convert(image, reader, engine, report, stored)), problem: '' }
  } catch (error) {
    if (!isOfStored(error, stored)) throw error
    ftruncateSync(options.fd, 0)
    return plain(describe(error))
  }
}

/** The registry that the new image comes from says who may have a layer; one that it has not is fetched, and fails so. */
async function onlyProved(
  image: OpenedImage,
  reader: ImageReader,
  layers: readonly ReuseOrder[],
): Promise<ReuseOrder[]> {
  const answers = await Promise.all(
    layers.map(async ({ layer, ask }) => {
      const descriptor = image.layers[layer]
      if (descriptor === undefined) return false
      return !ask || ((await reader.has?.(descriptor)) ?? false)
    }),
  )
  return layers.filter((_, index) => answers[index])
}

function describe(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  return String(cause instanceof Error ? cause.message : cause).slice(0, PROBLEM_CHARS_MAX)
}
