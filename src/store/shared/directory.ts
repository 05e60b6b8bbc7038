// SPDX-License-Identifier: Apache-2.0
/** The shared directory as a node reaches it: by orders to one process, and not for a while after a failure. */
import type { Native } from '../../native.js'
import { BerthError, messageOf } from '../../report/errors.js'
import { type Answered, type AskOptions, type Patience, Sharer } from './sharer.js'
import type { OrderName, Orders, SharerSettings, ShareState } from './wire.js'

export interface DirectoryOptions extends SharerSettings {
  /** Group of the account that may write there. */
  gid: number
  /** Its own by default; rest_ms: after a failure no step waits for it. */
  patience?: Patience & { rest_ms: number }
}

/** A directory that failed is tried again after this; until then no step waits for it. */
const REST_MS = 60_000
/** A process without orders only holds memory. */
const IDLE_MS_MAX = 30_000

export class SharedDirectory {
  private sharer: Sharer | undefined
  private state: ShareState | undefined
  private restUntil = 0
  private isClosed = false
  private orders = 0
  /** Leases that are this node's. */
  private held = 0
  private idle: NodeJS.Timeout | undefined

  constructor(
    private readonly native: Native,
    private readonly distDir: string,
    private readonly options: DirectoryOptions,
    private readonly log: (line: string) => void,
  ) {}

  get path(): string {
    return this.options.directory
  }

  /** Magic number of its file system, once it was looked at. */
  get filesystem(): number {
    return this.state?.filesystem ?? 0
  }

  /** The process stays until the answer is called: a lease is in its hands. */
  hold(): () => void {
    this.held++
    return () => {
      this.held--
      this.startIdle()
    }
  }

  /** For who has to know: what fails is an error. */
  async demand<N extends OrderName>(name: N, order: Orders[N]['order']): Promise<Orders[N]['answer']> {
    const directory = this.path
    const failure = (await this.usable()) ? undefined : this.state?.failure
    if (failure !== undefined) throw new BerthError('BERTH_ESHARED', { directory, ...failure })
    try {
      return (await this.ask(name, order, { isLong: true })).answer
    } catch (error) {
      const fix = 'see the log of the worker and the state of that file system'
      throw new BerthError('BERTH_ESHARED', { directory, problem: messageOf(error), fix }, { cause: error })
    }
  }

  /** Undefined, and a line in the log, when it fails; then the directory has its rest. */
  async try<N extends OrderName>(
    name: N,
    order: Orders[N]['order'],
  ): Promise<Orders[N]['answer'] | undefined> {
    try {
      return (await this.ask(name, order)).answer
    } catch (error) {
      this.rest(messageOf(error))
      return undefined
    }
  }

  /** False without asking while it has its rest. */
  async usable(): Promise<boolean> {
    if (performance.now() < this.restUntil) return false
    if (this.sharer?.alive === true && this.state !== undefined) return this.state.failure === undefined
    const state = await this.try('check', {})
    if (state === undefined) return false
    this.state = state
    if (state.failure === undefined) return true
    const { problem, fix } = state.failure
    this.rest(`is not used: ${problem}; ${fix}`)
    return false
  }

  /** No step waits for it for a while. */
  rest(why: string): void {
    if (performance.now() < this.restUntil) return
    const { rest_ms = REST_MS } = this.options.patience ?? {}
    this.restUntil = performance.now() + rest_ms
    this.log(`shared store ${this.path}: ${why}; the node's own store is used for ${rest_ms / 1000} s`)
    this.sharer?.leave()
  }

  /** @throws Error: the sharer's, or the worker ends */
  async ask<N extends OrderName>(
    name: N,
    order: Orders[N]['order'],
    options?: AskOptions,
  ): Promise<Answered<N>> {
    if (this.isClosed) throw new Error('the worker ends')
    clearTimeout(this.idle)
    this.orders++
    try {
      if (this.sharer?.alive !== true) {
        // One a minute, each of which nothing ends, would fill the node's memory.
        if (this.sharer?.isStuck) throw new Error('the sharer that was killed still waits for an answer')
        const { directory, uid, gid, node, stale_ms, patience } = this.options
        const settings = { directory, uid, node, stale_ms }
        this.sharer = new Sharer(this.native, this.distDir, settings, { uid, gid }, patience)
      }
      return await this.sharer.ask(name, order, options)
    } finally {
      this.orders--
      this.startIdle()
    }
  }

  /** What its process publishes it finishes alone; leases it gives back. */
  close(): void {
    this.isClosed = true
    this.restUntil = Number.POSITIVE_INFINITY
    clearTimeout(this.idle)
    this.sharer?.leave()
  }

  private startIdle(): void {
    clearTimeout(this.idle)
    if (this.orders > 0 || this.held > 0) return
    this.idle = setTimeout(() => this.sharer?.leave(), IDLE_MS_MAX)
    this.idle.unref()
  }
}
