// SPDX-License-Identifier: Apache-2.0
/**
 * Ends the worker after it had nothing to do for a while. Whatever keeps it busy (a connection, a step, a prefetch)
 * holds a mark; the timer exists only between the last mark's end and the next one's start.
 */
export class Idle {
  private marks = 0
  private timer: NodeJS.Timeout | undefined

  /** `seconds` 0: never. */
  constructor(
    private readonly seconds: number,
    private readonly expired: () => void,
  ) {
    this.arm()
  }

  /** Returns the release; calling that twice is harmless. */
  busy(): () => void {
    this.marks += 1
    clearTimeout(this.timer)
    let held = true
    return () => {
      if (!held) return
      held = false
      this.marks -= 1
      if (this.marks === 0) this.arm()
    }
  }

  get isBusy(): boolean {
    return this.marks > 0
  }

  stop(): void {
    clearTimeout(this.timer)
    this.marks = Number.POSITIVE_INFINITY
  }

  private arm(): void {
    if (this.seconds <= 0) return
    this.timer = setTimeout(this.expired, this.seconds * 1000)
    this.timer.unref()
  }
}
