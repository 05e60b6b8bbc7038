// SPDX-License-Identifier: Apache-2.0
/** Frames of which only a part has come. A user may let the worker keep some bytes of them, for some time. */
import { UNFINISHED_BYTES_PER_USER_MAX, UNFINISHED_MS_MAX } from './limits.js'

/** All of one worker; root's are not counted. */
export class Unfinished {
  private readonly perUser = new Map<number, number>()

  constructor(
    private readonly bytesMax = UNFINISHED_BYTES_PER_USER_MAX,
    private readonly wait_ms = UNFINISHED_MS_MAX,
  ) {}

  /** Of one connection. `late` is called when a frame has begun and its end has not come in time. */
  of(uid: number, late: () => void): UnfinishedFrame {
    return new UnfinishedFrame((more) => this.add(uid, more), this.wait_ms, late)
  }

  /** False: more than that user may have here. */
  private add(uid: number, more: number): boolean {
    const bytes = (this.perUser.get(uid) ?? 0) + more
    if (bytes > 0) this.perUser.set(uid, bytes)
    else this.perUser.delete(uid)
    return uid === 0 || bytes <= this.bytesMax
  }
}

export class UnfinishedFrame {
  private bytes = 0
  private timer: NodeJS.Timeout | undefined

  constructor(
    private readonly add: (more: number) => boolean,
    private readonly wait_ms: number,
    private readonly late: () => void,
  ) {}

  /** So many bytes are kept now; `progressed`: of another frame than before. False: too many. */
  keep(bytes: number, progressed: boolean): boolean {
    if (bytes === 0 || progressed) this.stop()
    if (bytes > 0) this.timer ??= setTimeout(this.late, this.wait_ms).unref()
    const more = bytes - this.bytes
    this.bytes = bytes
    return this.add(more)
  }

  private stop(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }
}
