// SPDX-License-Identifier: Apache-2.0
/** From a reference to a mounted image that stays until the step ends. */
import type { ImageReference, StoredImage } from '../image/image.js'
import { familiarName, pinReference } from '../image/reference.js'
import type { NamespaceSpec } from '../native.js'
import type { ImportEvent } from '../report/progress.js'
import type { Access, Asking, ImportProgress, Store } from '../store/store.js'
import { holdDirectory } from './directory.js'
import type { Undo } from './undo.js'

export interface HeldImage {
  image: StoredImage
  source: NamespaceSpec['image']
}

export interface ImageTurn {
  signal: AbortSignal
  progress(event: ImportEvent): void
  /** The start of the import was told: docker has saved it. */
  begun?: true
  /** The image that an earlier worker had found for this step: the tag may have moved since. */
  pinned?: { key: string; digest: string }
}

/** @throws BerthError */
export async function holdImage(
  store: Store,
  access: Access,
  reference: ImageReference,
  turn: ImageTurn & { undo: Undo },
): Promise<HeldImage> {
  if (reference.source.kind === 'directory') return holdDirectory(access, reference.source.path)
  const image = await ensureImage(store, access, reference, turn)
  // Read while the image is being mounted; the plan asks for them again.
  void store.facts(image)
  const lease = await store.hold(image)
  turn.undo.add('image', () => lease.release())
  return { image, source: { device: lease.device } }
}

/** Resolved and in the store; its events tell whether it had to be imported. @throws BerthError */
export async function ensureImage(
  store: Store,
  access: Access,
  reference: ImageReference,
  turn: ImageTurn,
): Promise<StoredImage> {
  const digestKnown = turn.pinned?.digest ?? ''
  const wanted = digestKnown === '' ? reference : pinReference(reference, digestKnown)
  const report = new EventMaker(shortName(reference), turn.progress, turn.begun === true)
  try {
    const { digest } = await store.resolve(wanted, access, (asking) => report.asking(asking))
    const image = await store.ensure(wanted, digest, {
      access,
      signal: turn.signal,
      progress: (step) => report.take(step),
    })
    report.end(image.size, reference.source.kind === 'registry')
    return image
  } catch (error) {
    report.failed()
    throw error
  }
}

/** As the user wrote it: a digest that was pinned to a tag at submit says nothing to a reader. */
export function shortName(reference: ImageReference): string {
  const { source } = reference
  const name = familiarName(reference)
  return source.kind === 'registry' && source.tag !== undefined
    ? name.replace(/@sha256:[0-9a-f]+$/, '')
    : name
}

/** The store's view (phases, bytes) as what a waiting task is shown. */
class EventMaker {
  private asked = false
  private reused = 0

  constructor(
    private readonly image: string,
    private readonly tell: (event: ImportEvent) => void,
    private started: boolean,
  ) {}

  asking(asking: Asking): void {
    this.asked = true
    this.tell({ kind: 'asking', ...asking, at: performance.now() })
  }

  take({ done, total, layer, layers, reused, phase, node, silent, asking }: ImportProgress): void {
    if (asking !== undefined) {
      this.asking(asking)
      return
    }
    const at = performance.now()
    if (!this.started) this.tell({ kind: 'start', image: this.image, at })
    this.started = true
    if (phase === 'importing') this.reused = reused ?? 0
    if (silent !== undefined) this.tell({ kind: 'silent', directory: silent, at })
    else if (layers > 0 || node !== undefined)
      this.tell({
        kind: 'bytes',
        done,
        total,
        layersDone: layer,
        layers,
        at,
        ...(node === undefined ? { reused: this.reused } : { node }),
      })
  }

  end(bytes: number, isRemote: boolean): void {
    if (this.started) this.tell({ kind: 'end', bytes, reused: this.reused, at: performance.now() })
    else if (isRemote) this.tell({ kind: 'stored', image: this.image, bytes })
  }

  failed(): void {
    if (this.started || this.asked) this.tell({ kind: 'failed', at: performance.now() })
  }
}
