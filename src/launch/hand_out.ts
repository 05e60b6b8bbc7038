// SPDX-License-Identifier: Apache-2.0
/** An image for programs beside berth, which know nothing but the file: docs/decisions/0012-importer-handout.md. */
import { closeSync } from 'node:fs'
import { enrootFiles } from '../image/enroot_files.js'
import type { StoredImage } from '../image/image.js'
import type { Site } from '../site/site.js'
import type { Store } from '../store/store.js'
import { runSaver } from './saver.js'

export interface HandoutPlace {
  user: { uid: number; gid: number }
  /** An empty directory and an empty file; borrowed. */
  empty: number
  out: number
}

/** The image's compressed blocks as they are, and its config as files in it. @throws Error with `code` */
export async function copyWithConfig(
  { site, store }: { site: Site; store: Store },
  distDir: string,
  image: StoredImage,
  uri: string,
  { user, empty, out }: HandoutPlace,
  signal: AbortSignal,
): Promise<void> {
  const source = await store.open(image)
  try {
    const bytesMax = site.get('image_bytes_max')
    const order = {
      compressor: site.get('compressor'),
      level: site.get('level'),
      threads: Math.max(2, site.get('threads')),
      bytesMax,
      entriesMax: site.get('image_entries_max'),
      own: [],
      // A squashfs has its own.
      add: image.digest === '' ? [] : enrootFiles(image.config, uri),
      durable: false,
    }
    await runSaver({ distDir, user, image: source, upper: empty, out, order, sizeMax: bytesMax, signal })
  } finally {
    closeSync(source)
  }
}
