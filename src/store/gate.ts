// SPDX-License-Identifier: Apache-2.0
/**
 * At most so many pieces of work at once, the others in the order in which they came. One place is never one user's
 * who has all the others: a registry that sends a byte a minute holds up its own user only.
 */
interface Waiting {
  uid: number
  enter(): void
}

export class Gate {
  private free: number
  private readonly perUserMax: number
  private readonly inside = new Map<number, number>()
  private readonly queue: Waiting[] = []

  constructor(places: number) {
    this.free = places
    this.perUserMax = Math.max(1, places - 1)
  }

  /** Resolves with the function that gives the place back. @throws the signal's reason while waiting. */
  async enter(uid: number, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.admits(uid)) this.take(uid)
    else await this.wait(uid, signal)
    return () => this.leave(uid)
  }

  private admits(uid: number): boolean {
    return this.free > 0 && (this.inside.get(uid) ?? 0) < this.perUserMax
  }

  private take(uid: number): void {
    this.free--
    this.inside.set(uid, (this.inside.get(uid) ?? 0) + 1)
  }

  private leave(uid: number): void {
    const left = (this.inside.get(uid) ?? 1) - 1
    if (left === 0) this.inside.delete(uid)
    else this.inside.set(uid, left)
    this.free++
    const at = this.queue.findIndex((waiting) => this.admits(waiting.uid))
    const [next] = at < 0 ? [] : this.queue.splice(at, 1)
    if (next === undefined) return
    this.take(next.uid)
    next.enter()
  }

  private wait(uid: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting = {
        uid,
        enter: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      const leave = () => {
        this.queue.splice(this.queue.indexOf(waiting), 1)
        reject(signal.reason)
      }
      this.queue.push(waiting)
      signal.addEventListener('abort', leave, { once: true })
    })
  }
}
