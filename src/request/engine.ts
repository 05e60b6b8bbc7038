// SPDX-License-Identifier: Apache-2.0
/** --container-engine, its extra words, --container-scope and sizes: short values with a closed grammar. */
import { parseSpace, SPACE_GRAMMAR } from '../site/values.js'
import { hasControl, optionProblem, showValue } from './problem.js'
import type { Scope } from './request.js'

const SCOPES: readonly Scope[] = ['step', 'batch', 'job']

/** The name only; whether this node has such an engine is src/engine's to say. @throws BERTH_EOPTION */
export function parseEngine(text: string): string {
  if (text === '') throw optionProblem('container-engine', 'argument required')
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(text)) {
    throw optionProblem('container-engine', `invalid format: ${showValue(text)}`)
  }
  return text
}

/** Words separated by spaces; a word with a space stands in double quotes. @throws BERTH_EOPTION */
export function parseEngineArgs(text: string): string[] {
  if (hasControl(text)) throw optionProblem('container-engine-args', `invalid format: ${showValue(text)}`)
  const words: string[] = text.match(/"[^"]*"|[^\s"]+|"/g) ?? []
  if (words.includes('"')) {
    throw optionProblem('container-engine-args', `quote without an end: ${showValue(text)}`)
  }
  return words.map((word) => (word.startsWith('"') ? word.slice(1, -1) : word))
}

/** @throws BERTH_EOPTION */
export function parseScope(text: string): Scope {
  const scope = SCOPES.find((known) => known === text)
  if (scope === undefined) {
    throw optionProblem('container-scope', `must be "step", "batch" or "job": ${showValue(text)}`)
  }
  return scope
}

/** A tmpfs size as the kernel reads it: "4G", "50%". @throws BERTH_EOPTION */
export function parseTmpfsSize(option: string, text: string): string {
  if (parseSpace(text) === undefined) {
    throw optionProblem(option, `must be ${SPACE_GRAMMAR}: ${showValue(text)}`)
  }
  return text
}
