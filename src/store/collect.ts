// SPDX-License-Identifier: Apache-2.0
/** Which images to give up for space; pure. */

export interface Candidate {
  key: string
  size: number
  /** Milliseconds since the epoch. */
  used: number
  /** Leased, pinned, or handed out a moment ago. */
  kept: boolean
}

export interface SpaceLimits {
  /** Bytes that all images together may have; 0: no limit. */
  quota: number
  /** Bytes that stay free on the file system. */
  floor: number
}

/** Bytes to free so that `wanted` more fit under quota and above floor. */
export function bytesOver(wanted: number, stored: number, free: number, limits: SpaceLimits): number {
  const overQuota = limits.quota === 0 ? 0 : stored + wanted - limits.quota
  return Math.max(0, overQuota, limits.floor + wanted - free)
}

/** Least recently used first, until `bytes` are freed or nothing is left that may go. */
export function chooseVictims(candidates: readonly Candidate[], bytes: number): Candidate[] {
  const victims: Candidate[] = []
  let freed = 0
  for (const candidate of [...candidates].sort((one, other) => one.used - other.used)) {
    if (freed >= bytes) break
    if (candidate.kept) continue
    victims.push(candidate)
    freed += candidate.size
  }
  return victims
}
