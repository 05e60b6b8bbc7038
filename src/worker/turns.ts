// SPDX-License-Identifier: Apache-2.0
/** Work that one user may have running at a time; the rest of that user's waits, other users are not held up. */
export class Turns {
  private readonly running = new Map<number, number>()
  private readonly waiting = new Map<number, (() => void)[]>()

  constructor(private readonly perUserMax: number) {}

  /** @throws the signal's reason while waiting, or what `work` throws */
  async take<T>(uid: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.enter(uid, signal)
    try {
      return await work()
    } finally {
      this.leave(uid)
    }
  }

  private async enter(uid: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const running = this.running.get(uid) ?? 0
    if (running < this.perUserMax) {
      this.running.set(uid, running + 1)
      return
    }
    const queue = this.waiting.get(uid) ?? []
    this.waiting.set(uid, queue)
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = () => {
        queue.splice(queue.indexOf(enter), 1)
        reject(signal.reason)
      }
      queue.push(enter)
      signal.addEventListener('abort', giveUp, { once: true })
    })
  }

  /** The place goes to the next one in the queue, or back. */
  private leave(uid: number): void {
    const next = this.waiting.get(uid)?.shift()
    if (next !== undefined) {
      next()
      return
    }
    this.waiting.delete(uid)
    const running = (this.running.get(uid) ?? 1) - 1
    if (running === 0) this.running.delete(uid)
    else this.running.set(uid, running)
  }
}
