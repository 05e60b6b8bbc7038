// SPDX-License-Identifier: Apache-2.0
/** The command line as options, words and what stands after `--`; spelled as users of srun and docker expect. */
import { parseArgs } from 'node:util'
import { nearest } from '../report/nearest.js'
import { isOptionName, OPTIONS, optionRow } from '../request/options.js'
import type { OptionSpec } from './command.js'

export interface Arguments {
  /** The last value of each option. */
  values: Record<string, string>
  /** All values, in order. */
  all: Record<string, string[]>
  flags: Set<string>
  words: string[]
  /** After `--`. */
  rest: string[]
  /** "name=value" as the shim sends them, in order, lists joined. */
  container: string[]
}

/** Options without "container-" in their names. */
const WHOLE_NAMES = ['environment', 'edf']

/** The command line cannot be understood; the message names the part. */
export class UsageError extends Error {}

/**
 * `container`: also take --container-X (and --X, --no-X) of every container option.
 * @throws UsageError
 */
export function parseArguments(
  argv: readonly string[],
  specs: Readonly<Record<string, OptionSpec>>,
  container: boolean,
): Arguments {
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, { type }]) => [name, { type, multiple: true }]),
  )
  if (container) Object.assign(options, containerOptions())
  const { tokens } = parseArgs({
    args: [...argv],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const result: Arguments = { values: {}, all: {}, flags: new Set(), words: [], rest: [], container: [] }
  const lists = new Map<string, string[]>()
  let ended = false
  for (const token of tokens) {
    if (token.kind === 'option-terminator') ended = true
    else if (token.kind === 'positional') (ended ? result.rest : result.words).push(token.value)
    else takeOption(token.name, token.rawName, token.value, specs, container, result, lists)
  }
  for (const [name, values] of lists) result.container.push(`${name}=${values.join(',')}`)
  return result
}

function takeOption(
  name: string,
  rawName: string,
  value: string | undefined,
  specs: Readonly<Record<string, OptionSpec>>,
  container: boolean,
  result: Arguments,
  lists: Map<string, string[]>,
): void {
  const spec = Object.hasOwn(specs, name) ? specs[name] : undefined
  if (spec?.type === 'boolean') {
    if (value !== undefined) throw new UsageError(`${rawName} takes no value`)
    result.flags.add(name)
    return
  }
  if (spec !== undefined) {
    if (value === undefined) throw new UsageError(`${rawName} needs a value`)
    result.values[name] = value
    result.all[name] = [...(result.all[name] ?? []), value]
    return
  }
  const known = container ? containerName(name) : undefined
  if (known === undefined) throw unknownOption(rawName, Object.keys(specs), container)
  const { kind } = known
  if (kind !== 'flag' && value === undefined) throw new UsageError(`${rawName} needs a value`)
  // A flag may carry one all the same: Slurm's plugin passes "=1" and "=0", the grammar judges the rest.
  const text = value ?? '1'
  if (kind === 'list') lists.set(known.name, [...(lists.get(known.name) ?? []), text])
  else lists.set(known.name, [text])
}

function unknownOption(rawName: string, own: readonly string[], container: boolean): UsageError {
  const options = container ? Object.keys(containerOptions()) : []
  const meant = nearest(rawName.replace(/^-+/, ''), [...own, ...options])
  return new UsageError(
    `unknown option ${rawName}${meant === undefined ? '' : ` (did you mean --${meant}?)`}`,
  )
}

interface ContainerOption {
  name: string
  kind: 'single' | 'list' | 'flag'
}

/** mounts → container-mounts, no-mount-home → no-container-mount-home; the long names as they are. */
function containerName(name: string): ContainerOption | undefined {
  if (WHOLE_NAMES.includes(name)) return { name, kind: 'single' }
  const negative = name.startsWith('no-')
  const stem = (negative ? name.slice(3) : name).replace(/^container-/, '')
  const positive = `container-${stem}`
  if (!isOptionName(positive)) return undefined
  const { kind, opposite } = optionRow(positive)
  if (negative && opposite !== `no-${positive}`) return undefined
  return { name: negative ? `no-${positive}` : positive, kind }
}

/** For parseArgs: which of them swallow the next word. */
function containerOptions(): Record<string, { type: 'string' | 'boolean'; multiple: true }> {
  const entries: [string, { type: 'string' | 'boolean'; multiple: true }][] = []
  for (const [name, { kind }] of Object.entries(OPTIONS)) {
    const type = kind === 'flag' ? 'boolean' : 'string'
    const short = name.replace(/^container-/, '')
    for (const spelling of [name, short]) entries.push([spelling, { type, multiple: true }])
  }
  return Object.fromEntries(entries)
}
