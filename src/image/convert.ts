// SPDX-License-Identifier: Apache-2.0
/** Layers of an opened image into the squashfs engine: top first, a few at once, each checked (issue 5 point 2). */
import type { NativeError, NativeSquash, SquashResult } from '../native.js'
import { BerthError } from '../report/errors.js'
import type { Descriptor } from './manifest.js'
import { broken, type ImageReader, mismatch, type OpenedImage, verified } from './reader.js'

/** The engine merges one layer at a time; two more on their way hide the latency of a registry. */
const LAYERS_AT_ONCE = 3

export interface ConvertProgress {
  /** Compressed bytes that arrived. */
  done: number
  total: number
  /** Layers that have arrived. */
  layer: number
  layers: number
}

/**
 * Resolves when the engine has written the whole file. On any failure the engine is aborted and the first cause
 * thrown: a wrong digest or size, a connection that stays broken, what the engine refuses.
 */
export async function convert(
  image: OpenedImage,
  reader: ImageReader,
  engine: NativeSquash,
  report: (progress: ConvertProgress) => void,
): Promise<SquashResult> {
  const stop = new AbortController()
  const total = image.layers.reduce((sum, { size }) => sum + size, 0)
  const progress: ConvertProgress = { done: 0, total, layer: 0, layers: image.layers.length }
  let next = image.layers.length

  const feedOne = async (index: number, layer: Descriptor, tell: (bytes: number) => void): Promise<void> => {
    for await (const piece of verified(reader.layer(layer, stop.signal), layer)) {
      await engine.write(index, piece).catch((error) => reject(error, layer))
      tell(piece.length)
    }
    await engine.end(index).catch((error) => reject(error, layer))
  }
  const feed = async (): Promise<void> => {
    while (next > 0 && !stop.signal.aborted) {
      const index = --next
      const layer = image.layers[index]
      if (layer === undefined) continue
      await feedOne(index, layer, (bytes) => {
        progress.done += bytes
        report(progress)
      })
      progress.layer++
      report(progress)
    }
  }
  const finish = async (): Promise<SquashResult> => {
    const again = await engine.missing().catch((error) => reject(error, undefined))
    for (const index of again) {
      const layer = image.layers[index]
      if (layer !== undefined) await feedOne(index, layer, () => {})
    }
    return engine.finish().catch((error) => reject(error, undefined))
  }

  let first: unknown
  const guarded = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work()
    } catch (error) {
      first ??= error
      stop.abort()
      engine.abort()
      return undefined
    }
  }
  await Promise.all(Array.from({ length: LAYERS_AT_ONCE }, () => guarded(feed)))
  const result = stop.signal.aborted ? undefined : await guarded(finish)
  if (result === undefined) throw first
  checkDiffIds(image, result.diffIds)
  return result
}

/** An engine's errno in words; EFBIG is either of its limits, ENOSPC and EDQUOT are the disk's. */
function reject(error: NativeError, layer: Descriptor | undefined): never {
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT') {
    throw new BerthError('BERTH_ESPACE', { path: 'the store', bytes: 0 }, { cause: error })
  }
  if (error.code === 'EFBIG') {
    throw new BerthError('BERTH_ETOOBIG', { problem: 'it is larger than the site allows' }, { cause: error })
  }
  if (error.code === 'ECANCELED') throw error
  throw broken(layer?.digest || 'unknown', describe(error), error)
}

function describe(error: NativeError): string {
  const where = error.path === undefined || error.path === '' ? '' : ` at ${JSON.stringify(error.path)}`
  return `cannot be read (${error.code ?? error.message}${where})`
}

function checkDiffIds(image: OpenedImage, diffIds: readonly string[]): void {
  image.parsed.diffIds.forEach((expected, index) => {
    if (diffIds[index]?.replace(/^(sha256:)?/, 'sha256:') !== expected) {
      throw mismatch(`the content of layer ${index + 1}`, expected)
    }
  })
}
