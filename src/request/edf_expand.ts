// SPDX-License-Identifier: Apache-2.0
/** ${VAR}, ${VAR:-text} and $$ in the values of an environment file; a $ before anything else is an ordinary one. */

/** What is wrong with a value, to be told with its file and line. */
export class ExpansionError extends Error {}

const VARIABLE = /\$\$|\$\{([^}]*)(\}?)/g
const INSIDE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s

/** @throws ExpansionError on a variable that is not set and has no default, or that is malformed */
export function expandVariables(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(VARIABLE, (whole, inside: string | undefined, end: string) => {
    if (whole === '$$') return '$'
    const [, name, otherwise] = INSIDE.exec(inside ?? '') ?? []
    if (name === undefined || end === '') throw new ExpansionError(`malformed variable ${whole}`)
    const value = variables.get(name)
    if (otherwise !== undefined) return value || otherwise
    if (value === undefined)
      throw new ExpansionError(`variable ${name} is not set; \${${name}:-} allows that`)
    return value
  })
}
