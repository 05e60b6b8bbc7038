// SPDX-License-Identifier: Apache-2.0
/** How a setting is described, in one row of a table. */

/** How a value is written; site.ts turns it into the type beside it (ValueOf). */
type KeyType =
  | 'path'
  | 'name'
  | 'boolean'
  | 'count'
  | 'seconds'
  | 'size'
  | 'space'
  | 'list'
  | 'text'
  | readonly string[]

export interface KeyRow {
  type: KeyType
  /** As it would be written in the file. */
  default: string
  help: string
  /** Inclusive bounds of a count, size or duration. */
  min?: number
  max?: number
  powerOfTwo?: true
  /** Read by the plugin, which reads no file. */
  lineOnly?: true
  /** Of each item of a list; what matches nothing would forbid nothing. */
  item?: { pattern: RegExp; grammar: string }
}
