// SPDX-License-Identifier: Apache-2.0
/** Versions as programs say them. */

/** By the leading numbers of each: "1.8.1-dev" is 1.8.1. */
export function isOlder(version: string, other: string): boolean {
  const [mine, theirs] = [version, other].map((text) =>
    (/^[\d.]*/.exec(text)?.[0] ?? '').split('.').map(Number),
  )
  for (const [index, number] of (theirs ?? []).entries()) {
    const own = mine?.[index] ?? 0
    if (own !== number) return own < number
  }
  return false
}
