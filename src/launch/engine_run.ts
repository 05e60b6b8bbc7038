// SPDX-License-Identifier: Apache-2.0
/**
 * An engine of the host while it holds a container: started in a view by berth-tend, which answers for its processes;
 * over when the holder's connection is closed, at the latest when berth-tend's is.
 */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../report/errors.js'
import { exitStatus, giveOrder, type ProgramUser, spawnTend, type Tend, takeTend } from './tend.js'

/** As whom, and with which variables. */
export interface ViewRole {
  user: ProgramUser
  environment: Readonly<Record<string, string>>
}

/** Descriptors, borrowed until the run is over. */
export interface ViewPlace {
  mountNs: number
  userNs?: number
}

/** What an engine says before it fails fits; what it says later is dropped. */
const OUTPUT_BYTES_MAX = 64 << 10
/** berth-tend gives up on processes that do not die after 10 s. */
const KILL_MS_MAX = 12_000

/** One command in a view, and all that it leaves running. */
export class EngineRun {
  private readonly tend: Tend
  private readonly child: ChildProcess
  private readonly control: Tend['control']
  private said = ''
  private status: number | undefined
  /** Resolves when nothing more can be heard of any of them. */
  private readonly quiet: Promise<void>
  /** Resolves when no process is left. */
  readonly gone: Promise<void>
  /** Resolves when the command itself has ended. */
  readonly ended: Promise<void>

  /** @param input what it reads; absent: nothing */
  constructor(input?: string) {
    this.tend = input === undefined ? takeTend() : spawnTend('pipe')
    this.child = this.tend.child
    this.control = this.tend.control
    // One that does not read it has no need of it.
    this.child.stdin?.on('error', () => undefined).end(input)
    this.quiet = new Promise((resolve) => {
      this.child.once('close', () => resolve()).once('error', () => resolve())
    })
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => this.hear(text))
    this.ended = exitStatus(this.tend).then((status) => {
      this.status = status
    })
    // An exit may be seen before what was written ahead of it is read.
    this.gone = once(this.child, 'exit').then(
      () => this.ended,
      (error: unknown) => this.hear(`${messageOf(error)}\n`),
    )
  }

  /** Once. Descriptors are opened by their numbers in this process. */
  start(argv: readonly string[], role: ViewRole, place: ViewPlace): this {
    giveOrder(this.tend, { argv, ...role, ...place })
    return this
  }

  /** 128+n for signal n; undefined while it runs. */
  get exitCode(): number | undefined {
    if (this.status === undefined) return undefined
    const signal = this.status & 0x7f
    return signal === 0 ? (this.status >> 8) & 0xff : 128 + signal
  }

  /** For a message: the first line, which some let their whole usage follow, and the last ones. */
  summary(linesMax: number): string {
    const lines = this.said
      .split('\n')
      .map((line) => line.replaceAll(/[^\x20-\x7e\u00a0-\uffff]+/g, ' ').trim())
      .filter((line) => line !== '')
    return (lines.length <= linesMax ? lines : [...lines.slice(0, 1), ...lines.slice(1 - linesMax)]).join(
      '; ',
    )
  }

  /** True when all of it is over in time. */
  isGone(waitMsMax: number): Promise<boolean> {
    return comes(this.gone, waitMsMax)
  }

  /** True when the command itself is over in time; what it left may still run. */
  isEnded(waitMsMax: number): Promise<boolean> {
    return comes(this.ended, waitMsMax)
  }

  /** Ends what is left; all that was said is heard then. */
  async finish(): Promise<void> {
    this.control?.end('k')
    await comes(this.quiet, KILL_MS_MAX)
    await this.kill()
  }

  /** Ends every process that is left. */
  async kill(): Promise<void> {
    this.control?.end('k')
    await this.isGone(KILL_MS_MAX)
    this.control?.destroy()
    this.child.stdout?.destroy()
    this.child.stderr?.destroy()
  }

  private hear(text: string): void {
    this.said = (this.said + text).slice(-OUTPUT_BYTES_MAX)
  }
}

async function comes(event: Promise<void>, waitMsMax: number): Promise<boolean> {
  const late = new AbortController()
  const timeout = sleep(waitMsMax, false, { signal: late.signal }).catch(() => false)
  const answer = await Promise.race([event.then(() => true), timeout])
  late.abort()
  return answer
}
