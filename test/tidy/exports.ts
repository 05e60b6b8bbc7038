// SPDX-License-Identifier: Apache-2.0
/** What a file exports, another one imports: a reader of `export` can trust that somebody else depends on it. */
import { dirname, join } from 'node:path'
import type { Finding, Source } from './sources.js'

const DECLARED = /^export (?:abstract |async )*(?:class|function\*?|const|interface|type|enum) (\w+)/gm
/** `export { a } from`, `export type { a }`. */
const PASSED_ON = /^export (?:type )?\{([^}]*)\}/gm
const TAKEN = /^(?:import|export) (?:type )?\{([^}]*)\}\s*from '(\.[^']+)'/gm
/** `export * from`, `import * as x from`, `await import()`: all of a file. */
const WHOLE = /(?:\* from|\* as \w+ from|import\()\s*'(\.[^']+)'/g

export function checkUnusedExports(sources: readonly Source[]): Finding[] {
  const files = sources.filter(({ path }) => path.endsWith('.ts'))
  const taken = new Set(files.flatMap(namesTaken))
  const whole = new Set(
    files.flatMap((file) => [...file.text.matchAll(WHOLE)].map(([, to]) => fileOf(file, to))),
  )
  return files
    .filter(({ path }) => !whole.has(path))
    .flatMap(({ path, text }) =>
      namesExported(text)
        .filter((name) => !taken.has(`${path} ${name}`))
        .map((name) => ({ path, problem: `exports ${name}, which nothing imports` })),
    )
}

function namesExported(text: string): string[] {
  const declared = [...text.matchAll(DECLARED)].map(([, name = '']) => name)
  const passedOn = [...text.matchAll(PASSED_ON)].flatMap(([, list = '']) => namesIn(list))
  return [...declared, ...passedOn.map(([, outside]) => outside)]
}

function namesTaken(file: Source): string[] {
  return [...file.text.matchAll(TAKEN)].flatMap(([, list = '', to]) =>
    namesIn(list).map(([inside]) => `${fileOf(file, to)} ${inside}`),
  )
}

/** Of `a, type b as c`: what each is called in its own file, and by the one that names it. */
function namesIn(list: string): [string, string][] {
  return list
    .split(',')
    .map((item) => item.trim().replace(/^type /, ''))
    .filter((item) => item !== '')
    .map((item) => {
      const [inside = '', outside = inside] = item.split(' as ')
      return [inside, outside]
    })
}

function fileOf({ path }: Source, to = ''): string {
  return join(dirname(path), to).replace(/\.js$/, '.ts')
}
