// SPDX-License-Identifier: Apache-2.0
/**
 * What a waiting task's stderr shows of an import: on a terminal one line that is redrawn and at last wiped, elsewhere
 * a line at the start, one every few seconds and one at the end. A warm image prints nothing, unless somebody counts.
 * No colour is used, so NO_COLOR has nothing to take away.
 */

/** auto: a line on a terminal, plain elsewhere; always: plain, and two lines for an image that is there already too. */
const PROGRESS_MODES = ['auto', 'plain', 'always', 'none'] as const
export type ProgressMode = (typeof PROGRESS_MODES)[number]

/** `at` is any monotonic clock in milliseconds, the same for all events of an import. */
export type ImportEvent =
  | { kind: 'start'; image: string; at: number }
  /** done and total in bytes as transferred; total 0: not known yet; reused: of layers that need not be. */
  | {
      kind: 'bytes'
      done: number
      total: number
      layersDone: number
      layers: number
      /** Another node, which does it for this one too. */
      node?: string
      /** Who gives the bytes, where that is no registry. */
      from?: string
      reused?: number
      at: number
    }
  /** A registry, or who gives its logins, that has let a question wait for so long; status: it wants to be asked later. */
  | { kind: 'asking'; host: string; seconds: number; status?: number; at: number }
  /** A directory on another machine, which does not answer. */
  | { kind: 'silent'; directory: string; at: number }
  /** bytes: size of the converted image. */
  | { kind: 'end'; bytes: number; reused?: number; at: number }
  /** Nothing had to be imported. */
  | { kind: 'stored'; image: string; bytes: number }
  | { kind: 'failed'; at: number }

interface ProgressOptions {
  /** Columns of the terminal, 0: none. */
  columns: number
  mode: ProgressMode
}

/** Users of pyxis see a silent wait; a line every 5 s tells a slow registry from a dead one without flooding logs. */
const PLAIN_INTERVAL_MS = 5000
/** The eye follows no faster. */
const REDRAW_INTERVAL_MS = 100
const MEBIBYTE = 2 ** 20
const GIBIBYTE = 2 ** 30

/** BERTH_PROGRESS over the site's word; an unknown one counts for nothing, since a job must not fail for it. */
export function progressMode(environment: ReadonlyMap<string, string>, site: ProgressMode): ProgressMode {
  const asked = environment.get('BERTH_PROGRESS')
  return PROGRESS_MODES.find((mode) => mode === asked) ?? site
}

/** One per launcher: takes events, answers the bytes for its stderr, '' when there is nothing to show. */
export class Progress {
  private image = ''
  private started = 0
  private shown = 0
  private drawn = false
  private node = ''
  private host = ''
  /** Rates count from here: docker's bytes are others than those of the import after it. */
  private from: { who: string | undefined; at: number; done: number } = { who: undefined, at: 0, done: 0 }

  constructor(private readonly options: ProgressOptions) {}

  take(event: ImportEvent): string {
    if (this.options.mode === 'none') return ''
    switch (event.kind) {
      case 'start':
        this.image = event.image
        this.started = event.at
        this.shown = event.at
        this.from = { who: undefined, at: event.at, done: 0 }
        return this.isLine() ? this.draw('') : `${this.heading()}\n`
      case 'bytes':
        return this.takeBytes(event)
      case 'asking':
        return this.takeAsking(event)
      case 'silent':
        return this.takeSilence(event)
      case 'end': {
        const seconds = ((event.at - this.started) / 1000).toFixed(1)
        const facts = `${formatBytes(event.bytes)}${describeReuse(event.reused)}`
        return `${this.wipe()}berth: imported ${this.image} in ${seconds} s (${facts})\n`
      }
      case 'stored':
        return this.wipe() + (this.options.mode === 'always' ? announce(event.image, event.bytes) : '')
      case 'failed':
        return this.wipe()
    }
  }

  private takeBytes(event: ImportEvent & { kind: 'bytes' }): string {
    // Whom one waits for is told at once, and again when that changes.
    const isNews = event.node !== undefined && event.node !== this.node
    this.node = event.node ?? ''
    if (isNews && !this.isLine()) {
      this.shown = event.at
      return `berth: waiting for ${event.node}, which imports ${this.image}\n`
    }
    if (event.from !== this.from.who) this.from = { who: event.from, at: event.at, done: event.done }
    if (event.at - this.shown < (this.isLine() ? REDRAW_INTERVAL_MS : PLAIN_INTERVAL_MS)) return ''
    this.shown = event.at
    const numbers = ` ${describe(event, this.from)}`
    return this.isLine() ? this.draw(numbers) : `${this.heading()}${numbers}\n`
  }

  private takeAsking({ host, seconds, status, at }: ImportEvent & { kind: 'asking' }): string {
    const isNews = this.host !== host
    this.host = host
    const answer = status === undefined ? 'no answer for' : `HTTP ${status}, trying again for`
    const text = `berth: asking ${host} …${isNews ? '' : ` ${answer} ${seconds} s`}`
    if (this.isLine()) return this.drawText(text)
    if (!isNews && at - this.shown < PLAIN_INTERVAL_MS) return ''
    this.shown = at
    return `${text}\n`
  }

  private takeSilence({ directory, at }: ImportEvent & { kind: 'silent' }): string {
    if (this.isLine()) return this.draw(` no answer from ${directory}`)
    const isNews = this.node !== directory
    if (!isNews && at - this.shown < PLAIN_INTERVAL_MS) return ''
    this.node = directory
    this.shown = at
    return `berth: waiting for the shared store ${directory}, which does not answer\n`
  }

  private heading(image = this.image): string {
    return `berth: importing ${image} …`
  }

  private isLine(): boolean {
    return this.options.mode === 'auto' && this.options.columns > 0
  }

  /**
   * The name gives way to the numbers, from its start: tags differ more than registries do. One column is left free,
   * or some terminals wrap the cursor to a second line that \r cannot take back.
   */
  private draw(numbers: string): string {
    const width = this.width()
    const room = Math.max(0, width - this.heading('').length - numbers.length)
    const image = this.image.length > room ? `…${this.image.slice(-Math.max(1, room - 1))}` : this.image
    return this.drawText(this.heading(image) + numbers)
  }

  private drawText(text: string): string {
    this.drawn = true
    return `\r${text.slice(0, this.width())}\u001b[K`
  }

  private width(): number {
    return Math.max(0, this.options.columns - 1)
  }

  private wipe(): string {
    if (!this.drawn) return ''
    this.drawn = false
    return '\r\u001b[K'
  }
}

/** The two lines that pyxis prints for each unnamed container of a registry: scripts index what follows them. */
function announce(image: string, bytes: number): string {
  return `berth: importing ${image} …\nberth: imported ${image} in 0.0 s (${formatBytes(bytes)}, stored before)\n`
}

/** "412 MB": powers of 1024, as `ls -h` and squeue print. */
export function formatBytes(bytes: number): string {
  if (bytes >= 10 * GIBIBYTE) return `${(bytes / GIBIBYTE).toFixed(1)} GB`
  return bytes >= MEBIBYTE ? `${Math.round(bytes / MEBIBYTE)} MB` : `${Math.ceil(bytes / 1024)} KB`
}

function describe(event: ImportEvent & { kind: 'bytes' }, since: { at: number; done: number }): string {
  const seconds = Math.max(event.at - since.at, 1) / 1000
  const total = event.total > 0 ? ` of ${formatBytes(event.total)}` : ''
  const rate = `${formatBytes((event.done - since.done) / seconds)}/s`
  const where = event.node === undefined ? '' : ` on ${event.node}`
  if (event.from !== undefined) return `${formatBytes(event.done)}${total} from ${event.from}, ${rate}`
  const layers = `layers ${event.layersDone}/${event.layers}${describeReuse(event.reused)}`
  return `${formatBytes(event.done)}${total}${where}, ${rate}, ${layers}`
}

function describeReuse(bytes = 0): string {
  return bytes > 0 ? `, ${formatBytes(bytes)} reused` : ''
}
