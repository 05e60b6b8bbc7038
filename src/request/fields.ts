// SPDX-License-Identifier: Apache-2.0
/**
 * "A:B,C:D" into entries of fields. A field may be put in double quotes from its first character to its last; a
 * backslash takes the meaning from , : " \ and $ (before any other character it is a backslash, as pyxis users have
 * it in paths); $NAME, ${NAME} and ${NAME:-text} are replaced by the variable, whose value is never split again.
 * Spaces are literal.
 */
import { BerthError } from '../report/errors.js'
import { optionProblem, showValue } from './problem.js'

const ESCAPABLE = ',:"\\$'
const VARIABLE = /\$(?:\{([A-Za-z_]\w*)(?::-([^}]*))?\}|([A-Za-z_]\w*))/y
const MENTION = /\$\{?([A-Za-z_]\w*)/g

/** @throws BERTH_EOPTION on an open quote, text after a closing quote, a malformed or an unset variable. */
export function splitFields(
  option: string,
  text: string,
  variables: ReadonlyMap<string, string>,
): string[][] {
  const entries: string[][] = []
  let fields: string[] = []
  let at = 0
  for (;;) {
    const field = takeField(option, text, at, variables)
    fields.push(field.value)
    at = field.end
    if (at < text.length && text[at] === ':') {
      at++
      continue
    }
    entries.push(fields)
    if (at >= text.length) return entries
    fields = []
    at++
  }
}

/** Writes fields so that splitFields reads the same ones back, whatever they hold. */
export function joinFields(entries: readonly (readonly string[])[]): string {
  return entries.map((fields) => fields.map(escapeField).join(':')).join(',')
}

/** Names of the variables that a text mentions; the worker keeps these of a job's environment. */
export function mentionedVariables(text: string): string[] {
  return [...text.matchAll(MENTION)].map((match) => match[1] ?? '')
}

function escapeField(field: string): string {
  return field.replace(/[,:"\\]|\$(?=[{A-Za-z_])/g, (character) => `\\${character}`)
}

function takeField(
  option: string,
  text: string,
  start: number,
  variables: ReadonlyMap<string, string>,
): { value: string; end: number } {
  const quoted = text[start] === '"'
  let at = quoted ? start + 1 : start
  let value = ''
  while (at < text.length) {
    const character = text[at] ?? ''
    if (quoted ? character === '"' : character === ',' || character === ':') break
    const next = text[at + 1] ?? ''
    if (character === '\\' && next !== '' && ESCAPABLE.includes(next)) {
      value += next
      at += 2
    } else if (character === '$' && /[{A-Za-z_]/.test(next)) {
      const variable = takeVariable(option, text, at, variables)
      value += variable.value
      at = variable.end
    } else {
      value += character
      at++
    }
  }
  if (!quoted) return { value, end: at }
  if (at >= text.length) throw optionProblem(option, `quote without an end: ${showValue(text.slice(start))}`)
  const after = text[at + 1]
  if (after !== undefined && after !== ',' && after !== ':') {
    throw optionProblem(option, `text after a closing quote: ${showValue(text.slice(start))}`)
  }
  return { value, end: at + 1 }
}

function takeVariable(
  option: string,
  text: string,
  start: number,
  variables: ReadonlyMap<string, string>,
): { value: string; end: number } {
  VARIABLE.lastIndex = start
  const match = VARIABLE.exec(text)
  if (match === null) throw optionProblem(option, `malformed variable: ${showValue(text.slice(start))}`)
  const name = match[1] ?? match[3] ?? ''
  const value = variables.get(name) || match[2]
  if (value === undefined)
    throw new BerthError('BERTH_EOPTION', {
      option,
      problem: `variable is not set or empty: ${name}`,
      next: `set it, or write \${${name}:-TEXT} to have a default, or \\$ for a dollar sign`,
    })
  return { value, end: VARIABLE.lastIndex }
}
