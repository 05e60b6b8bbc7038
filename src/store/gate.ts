// SPDX-License-Identifier: Apache-2.0
/** At most so many pieces of work at once, the others in the order in which they came. */
export class Gate {
  private free: number
  private readonly queue: (() => void)[] = []

  constructor(places: number) {
    this.free = places
  }

  /** Resolves with the function that gives the place back. @throws the signal's reason while waiting. */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.free > 0) this.free--
    else await this.wait(signal)
    return () => {
      const next = this.queue.shift()
      if (next === undefined) this.free++
      else next()
    }
  }

  private wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const leave = () => {
        this.queue.splice(this.queue.indexOf(enter), 1)
        reject(signal.reason)
      }
      this.queue.push(enter)
      signal.addEventListener('abort', leave, { once: true })
    })
  }
}
