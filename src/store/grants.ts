// SPDX-License-Identifier: Apache-2.0
/** Who has shown lately that they may have an image: a registry answered their own credentials (DESIGN.md §2.4). */

/** A right that was taken away at the registry ends here at the latest. */
const GRANT_MS_MAX = 600_000
const GRANTS_MAX = 10_000

export class Grants {
  private readonly until = new Map<string, number>()

  give(uid: number, digest: string, now = Date.now()): void {
    this.until.set(`${uid} ${digest}`, now + GRANT_MS_MAX)
    if (this.until.size > GRANTS_MAX) this.prune(now)
  }

  has(uid: number, digests: readonly string[], now = Date.now()): boolean {
    return digests.some((digest) => (this.until.get(`${uid} ${digest}`) ?? 0) > now)
  }

  private prune(now: number): void {
    for (const [key, until] of this.until) if (until <= now) this.until.delete(key)
    while (this.until.size > GRANTS_MAX) this.until.delete(this.until.keys().next().value ?? '')
  }
}
