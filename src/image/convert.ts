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
  /** Compressed bytes of layers that need not come; not in total. */
  reused: number
}

/**
 * Resolves when the engine has written the whole file; `stored` are layers that it has from elsewhere, fetched only when
 * it asks for one after all. On any failure the engine is aborted, waited for and the first cause
 * thrown: a wrong digest or size, a connection that stays broken, what the engine refuses.
 */
export async function convert(
  image: OpenedImage,
  reader: ImageReader,
  engine: NativeSquash,
  report: (progress: ConvertProgress) => void,
  stored: ReadonlySet<number> = new Set(),
): Promise<SquashResult & { reused: number }> {
  const stop = new AbortController()
  const sum = (layers: readonly Descriptor[]) => layers.reduce((bytes, { size }) => bytes + size, 0)
  const wanted = image.layers.filter((_, index) => !stored.has(index))
  const reused = sum(image.layers) - sum(wanted)
  const progress: ConvertProgress = { done: 0, total: sum(wanted), layer: 0, layers: wanted.length, reused }
  let next = image.layers.length
  if (reused > 0) report(progress)

  const feedOne = async (index: number, layer: Descriptor, tell: (bytes: number) => void): Promise<void> => {
    for await (const piece of verified(reader.layer(layer, stop.signal), layer)) {
      await engine.write(index, piece).catch((error) => reject(error, layer))
      tell(piece.length)
    }
    await engine.end(index).catch((error) => reject(error, layer))
  }
  const feedCounted = async (index: number, layer: Descriptor): Promise<void> => {
    await feedOne(index, layer, (bytes) => {
      progress.done += bytes
      report(progress)
    })
    progress.layer++
    report(progress)
  }
  const feed = async (): Promise<void> => {
    while (next > 0 && !stop.signal.aborted) {
      const index = --next
      const layer = image.layers[index]
      if (layer !== undefined && !stored.has(index)) await feedCounted(index, layer)
    }
  }
  const finish = async (): Promise<SquashResult> => {
    const again = await engine.missing().catch((error) => reject(error, undefined))
    for (const index of again) {
      const layer = image.layers[index]
      if (layer === undefined) continue
      if (!stored.has(index)) await feedOne(index, layer, () => {})
      else {
        progress.total += layer.size
        progress.reused -= layer.size
        progress.layers++
        await feedCounted(index, layer)
      }
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
      void engine.abort()
      return undefined
    }
  }
  await Promise.all(Array.from({ length: LAYERS_AT_ONCE }, () => guarded(feed)))
  const result = stop.signal.aborted ? undefined : await guarded(finish)
  if (result === undefined) {
    // Whoever goes on with the file is alone with it.
    await engine.abort()
    throw first
  }
  checkDiffIds(image, result.diffIds, stored)
  return { ...result, reused: progress.reused }
}

/** Whether what the engine refused is of the stored images: a layer of theirs, or their files themselves. */
export function isOfStored(error: unknown, stored: ReadonlySet<number>): boolean {
  const { code, path } = ((error instanceof Error ? error.cause : undefined) ?? {}) as Partial<NativeError>
  const layer = /^layer (\d+)$/.exec(path ?? '')?.[1]
  return (
    code === 'EUCLEAN' ||
    code === 'EIO' ||
    path === 'stored' ||
    (layer !== undefined && stored.has(Number(layer)))
  )
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

function checkDiffIds(image: OpenedImage, diffIds: readonly string[], stored: ReadonlySet<number>): void {
  image.parsed.diffIds.forEach((expected, index) => {
    if (stored.has(index) && /^0+$/.test(diffIds[index] ?? '')) return
    if (diffIds[index]?.replace(/^(sha256:)?/, 'sha256:') !== expected) {
      throw mismatch(`the content of layer ${index + 1}`, expected)
    }
  })
}
