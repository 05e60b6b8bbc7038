// SPDX-License-Identifier: Apache-2.0
/** --container-writable[=SIZE|disk[:SIZE]|memory[:SIZE]]: where a step without a name writes, and how much. */
import { parseSpace } from '../site/values.js'
import { optionProblem } from './problem.js'
import type { Request, WritablePlace } from './request.js'

const OPTION = 'container-writable'
const VALUE = /^(?:(disk|memory)(?::(.+))?|(.+))$/

export interface WritableValue {
  on?: WritablePlace
  size?: string
}

/** Undefined: no such value. */
export function parseWritable(text: string): WritableValue | undefined {
  const [, on, ofPlace, alone] = VALUE.exec(text) ?? []
  const size = ofPlace ?? alone
  if (size !== undefined && parseSpace(size) === undefined) return undefined
  return {
    ...(on === undefined ? {} : { on: on as WritablePlace }),
    ...(size === undefined ? {} : { size }),
  }
}

/** @throws BERTH_EOPTION for what a container with a name cannot have */
export function writableFields(
  { on, size }: WritableValue,
  named: boolean,
): Pick<Request, 'writableOn' | 'writableSize'> {
  if (named && on === 'memory')
    throw optionProblem(OPTION, 'a container with a name is on disk, not in memory')
  if (named && size !== undefined)
    throw optionProblem(OPTION, 'a container with a name is on disk without a size of its own')
  return {
    ...(on === undefined ? {} : { writableOn: on }),
    ...(size === undefined ? {} : { writableSize: size }),
  }
}
