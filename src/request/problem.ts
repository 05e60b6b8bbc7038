// SPDX-License-Identifier: Apache-2.0
/** How a value that the grammar does not understand is refused and shown. */
import { BerthError } from '../report/errors.js'
import { isOptionName, optionRow } from './options.js'

/** Enough to recognise the value; a pasted 2 KB token is not echoed. */
const SHOWN_CHARACTERS_MAX = 120

/** @returns the error, to be thrown by the caller so that control flow stays visible. */
export function optionProblem(option: string, problem: string): BerthError {
  return new BerthError('BERTH_EOPTION', { option, problem, next: grammarOf(option) })
}

/** What to write instead: an example says more than the name of a grammar. */
function grammarOf(option: string): string {
  const example = isOptionName(option) ? optionRow(option).example : undefined
  return example === undefined ? 'correct the value' : `for example --${option}=${example}`
}

/** The value on one line, control characters written as escapes, cut where it is long. */
export function showValue(text: string): string {
  const cut = text.length > SHOWN_CHARACTERS_MAX ? `${text.slice(0, SHOWN_CHARACTERS_MAX)}…` : text
  return hasControl(cut) ? JSON.stringify(cut).slice(1, -1) : cut
}

/** True for NUL, newline and the other characters below space, and DEL: never part of a name we accept. */
export function hasControl(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}
