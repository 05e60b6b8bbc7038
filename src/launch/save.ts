// SPDX-License-Identifier: Apache-2.0
/** --container-save: what is asked for before the step, and done after its last task. */
import { closeSync, constants, openSync } from 'node:fs'
import { join } from 'node:path'
import type { StoredImage } from '../image/image.js'
import { SAVED_CONFIG, savedConfig } from '../image/saved.js'
import type { MadeEntry, NamespaceSpec } from '../native.js'
import type { Site } from '../site/site.js'
import type { HeldImage } from './hold_image.js'
import type { Namespaces } from './namespaces.js'
import { explainSave, saveError } from './save_failure.js'
import { replaceTarget, type SaveTarget } from './save_target.js'
import { runSaver, type SaveOrder } from './saver.js'

export interface PendingSave {
  target: SaveTarget
  held: HeldImage
  /** Upper directory: open, or by path; neither after a worker's crash, when it was on tmpfs. */
  upper?: number
  upperDir?: string
  own: MadeEntry[]
}

export function pendingSave(
  target: SaveTarget,
  held: HeldImage,
  spec: Pick<NamespaceSpec, 'upperDir'>,
  namespaces: Namespaces,
): PendingSave {
  const { upper, made } = namespaces
  return {
    ...{ target, held, own: made ?? [] },
    ...(upper === undefined ? {} : { upper }),
    ...(spec.upperDir === undefined ? {} : { upperDir: spec.upperDir }),
  }
}

export interface SaveTurn {
  /** Of the user's tasks. */
  umask: number
  signal: AbortSignal
}

/** @throws BerthError BERTH_ESAVE; the target is as it was then */
export async function saveContainer(
  site: Site,
  distDir: string,
  pending: PendingSave,
  { umask, signal }: SaveTurn,
): Promise<void> {
  const { target, held } = pending
  const close: number[] = []
  const keep = (fd: number): number => {
    close.push(fd)
    return fd
  }
  try {
    const upper = pending.upper ?? keep(openUpper(pending))
    const image = keep(openSync(imagePath(held), 'r'))
    await replaceTarget(target, umask, async (out, durable) => {
      const order = { ...orderOf(site, held.image, pending.own), durable }
      const { uid, gid } = target.user
      const sizeMax = site.get('image_bytes_max')
      await runSaver({ distDir, user: { uid, gid }, image, upper, out, order, sizeMax, signal })
      signal.throwIfAborted()
    })
  } catch (error) {
    if (signal.aborted) throw saveError(target.path, 'the step was canceled', error)
    throw explainSave(target.path, error)
  } finally {
    for (const fd of close) closeSync(fd)
  }
}

function openUpper({ target, upperDir }: PendingSave): number {
  if (upperDir === undefined) throw saveError(target.path, 'the worker was restarted while the step ran')
  return openSync(join(upperDir, 'upper'), constants.O_RDONLY | constants.O_DIRECTORY)
}

/** A file of a site's is known by its mounted device; the name may be another file's by now. */
function imagePath({ image, source }: HeldImage): string {
  return (image.key.startsWith('file-') || image.shared === true) && 'device' in source
    ? source.device
    : image.path
}

function orderOf(site: Site, image: StoredImage, own: MadeEntry[]): SaveOrder {
  return {
    compressor: site.get('compressor'),
    level: site.get('level'),
    threads: Math.max(2, site.get('threads')),
    bytesMax: site.get('image_bytes_max'),
    entriesMax: site.get('image_entries_max'),
    own,
    // A squashfs has its own files for that, which the step may have edited.
    add: image.digest === '' ? [] : [{ path: SAVED_CONFIG, content: savedConfig(image.config) }],
  }
}
