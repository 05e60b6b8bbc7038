// SPDX-License-Identifier: Apache-2.0
/** How another product's option becomes one of ours: lists add up with ours, of single ones there can be one only. */
import { BerthError } from '../report/errors.js'
import { type OptionName, optionRow } from './options.js'

/** A value, and where it came from, e.g. "flag --container-image" or "PYXIS_CONTAINER_IMAGE". */
export interface Given {
  value: string
  origin: string
}

/** What one source says, by option name. */
export type Level = Map<string, Given>

/**
 * Moves `theirs` to `ours`.
 * @param read the value in our grammar; undefined: it says nothing
 * @throws BERTH_ECONFLICT when both are given and only one value counts
 */
export function say(
  level: Level,
  theirs: OptionName,
  ours: OptionName,
  read: (text: string, name: string) => string | undefined,
): void {
  const given = level.get(theirs)
  if (given === undefined) return
  level.delete(theirs)
  const value = read(given.value, theirs)
  if (value === undefined) return
  const other = level.get(ours)
  if (other !== undefined && optionRow(ours).kind !== 'list')
    throw new BerthError('BERTH_ECONFLICT', { option: theirs, other: ours })
  level.set(ours, {
    value: other === undefined ? value : `${other.value},${value}`,
    origin: other === undefined ? given.origin : `${other.origin}, ${given.origin}`,
  })
}
