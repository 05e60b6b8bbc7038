// SPDX-License-Identifier: Apache-2.0
/** On which line of a TOML file a key stands: the parser tells lines of syntax errors only. */

const HEADER = /^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}/
const ASSIGNMENT = /^\s*((?:"[^"]*"|'[^']*'|[\w-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[\w-]+))*)\s*=/
const PART = /"([^"]*)"|'([^']*)'|([\w-]+)/g

/**
 * The line (from 1) that defines `path`, or the table it is in; 1 when it is written in a way not looked for (a key of
 * an inline table, text of a multi-line string).
 */
export function findLine(text: string, path: readonly string[]): number {
  let table: string[] = []
  let best = { line: 1, depth: 0 }
  for (const [index, line] of text.split('\n').entries()) {
    const header = HEADER.exec(line)
    const assignment = header === null ? ASSIGNMENT.exec(line) : null
    if (header !== null) table = split(header[1] ?? '')
    const named =
      header !== null ? table : assignment === null ? undefined : [...table, ...split(assignment[1] ?? '')]
    if (named === undefined) continue
    const depth = commonDepth(named, path)
    if (depth > best.depth) best = { line: index + 1, depth }
    if (depth === path.length) return index + 1
  }
  return best.line
}

function split(dotted: string): string[] {
  return [...dotted.matchAll(PART)].map(([, double, single, bare]) => double ?? single ?? bare ?? '')
}

/** How many leading parts agree, when all of `named` does or `path` is found whole. */
function commonDepth(named: readonly string[], path: readonly string[]): number {
  let depth = 0
  while (depth < named.length && depth < path.length && named[depth] === path[depth]) depth++
  return depth === named.length || depth === path.length ? depth : 0
}
