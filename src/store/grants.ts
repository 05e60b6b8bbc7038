// SPDX-License-Identifier: Apache-2.0
/**
 * Who has shown lately that they may have an image: a registry answered their own credentials. A registry
 * speaks of its own repositories only: a user's own one can name any digest. Times are of a clock that nobody sets.
 */

/** A right that was taken away at the registry ends here at the latest. */
const GRANT_MS_MAX = 600_000
const GRANTS_MAX = 10_000

export class Grants {
  private readonly until = new Map<string, number>()

  give(uid: number, place: string, digest: string, now = performance.now()): void {
    this.until.set(`${uid} ${place} ${digest}`, now + GRANT_MS_MAX)
    if (this.until.size > GRANTS_MAX) this.prune(now)
  }

  has(uid: number, places: readonly string[], digests: readonly string[], now = performance.now()): boolean {
    const lasts = (place: string, digest: string) => (this.until.get(`${uid} ${place} ${digest}`) ?? 0) > now
    return places.some((place) => digests.some((digest) => lasts(place, digest)))
  }

  private prune(now: number): void {
    for (const [key, until] of this.until) if (until <= now) this.until.delete(key)
    while (this.until.size > GRANTS_MAX) this.until.delete(this.until.keys().next().value ?? '')
  }
}
