// SPDX-License-Identifier: Apache-2.0
/** The word that was probably meant, for "did you mean". */

/** More changed letters than this in a word, or half of a short one, is another word. */
const CHANGES_MAX = 2

/** @returns the closest of `known`, undefined when none is close */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const near = known
    .map((one) => ({ one, changes: changesBetween(word, one) }))
    .filter(({ one, changes }) => changes <= Math.min(CHANGES_MAX, one.length / 2))
    .sort((left, right) => left.changes - right.changes)
  return near[0]?.one
}

/** Letters to be added, dropped, replaced or swapped with their neighbour (optimal string alignment). */
function changesBetween(left: string, right: string): number {
  let before: number[] = []
  let last = Array.from({ length: right.length + 1 }, (_, column) => column)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1]
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
      current[column] = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (before[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    before = last
    last = current
  }
  return last[right.length] ?? 0
}
