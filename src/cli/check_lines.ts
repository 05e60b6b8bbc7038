// SPDX-License-Identifier: Apache-2.0
/** Lines of the configuration that only a step would stumble over: names of engines, and mounts. */
import { ENGINES, engineByName } from '../engine/engines.js'
import { AUTOMATIC, isOffered } from '../engine/select.js'
import { planSiteMounts } from '../plan/system_mounts.js'
import { BerthError } from '../report/errors.js'
import type { ConfigLine } from '../site/config_file.js'
import { splitList } from '../site/parse_key.js'
import type { Site } from '../site/site.js'

type Problems = (value: string, site: Site) => string[]

const CHECKS: Readonly<Record<string, Problems>> = {
  engine: (value, site) => problemsOfDefault(value, site),
  engines: (value) => splitList(value).flatMap((name) => problemsOfName(name, '')),
  engine_partitions: (value, site) =>
    splitList(value).flatMap((item) => problemsOfDefault(item.slice(item.indexOf('=') + 1), site)),
  mounts: (value, site) => problemsOfMounts(value, site),
}

/** @returns BERTH_ESITE, in the order of the lines; one that a later line takes back counts too */
export function checkLines(site: Site): BerthError[] {
  const before = new Map<string, string>()
  return site.lines.flatMap((line) => {
    const { key, place } = line
    const check = Object.hasOwn(CHECKS, key) ? CHECKS[key] : undefined
    const problems = check?.(ownPart(line, before.get(key)), site) ?? []
    before.set(key, line.value)
    return problems.map((problem) => new BerthError('BERTH_ESITE', { place, key, problem }))
  })
}

/** A line KEY[] = VALUE comes with all that stood before it. */
function ownPart({ value }: ConfigLine, before = ''): string {
  return value.startsWith(`${before},`) ? value.slice(before.length + 1) : value
}

/** Of steps that name none. */
function problemsOfDefault(name: string, site: Site): string[] {
  if (name === AUTOMATIC) return []
  const engine = engineByName(name)
  if (engine === undefined) return problemsOfName(name, `, or ${AUTOMATIC}`)
  if (isOffered(engine, site)) return []
  const missing =
    site.get('engines').length === 0
      ? 'must be named in engines'
      : `is not among the engines of ${site.origin('engines')}`
  return [`"${name}" ${missing}`]
}

function problemsOfName(name: string, more: string): string[] {
  if (engineByName(name) !== undefined) return []
  return [`"${name}" is no engine of this berth: ${ENGINES.map((one) => one.name).join(', ')}${more}`]
}

/** As a step would plan them. */
function problemsOfMounts(value: string, site: Site): string[] {
  const somebody = { name: 'somebody', uid: 1, gid: 1 }
  const line: Pick<Site, 'get' | 'origin'> = {
    get: (key) => (key === 'mounts' ? (value as never) : site.get(key)),
    origin: (key) => site.origin(key),
  }
  try {
    planSiteMounts({ site: line, user: somebody, step: { job: 1 } })
    return []
  } catch (error) {
    if (!(error instanceof BerthError)) throw error
    return [String(error.fields.problem ?? error.message)]
  }
}
