// SPDX-License-Identifier: Apache-2.0
/** Which engine runs a request, decided before anything is pulled. */
import type { Reason } from '../plan/spec.js'
import { BerthError } from '../report/errors.js'
import type { Request } from '../request/request.js'
import type { Site } from '../site/site.js'
import { type Demand, demandsOf } from './demands.js'
import type { Engine } from './engine.js'
import { ENGINES, engineByName } from './engines.js'
import type { FindEngine, Installed } from './installed.js'

type SiteView = Pick<Site, 'get' | 'origin'>

/** Takes the first engine that can do all that is asked. */
export const AUTOMATIC = 'auto'

/** What the choice is made from; a test gives its own table. */
interface Choice {
  /** Of the job, for the site's default. */
  partition?: string
  engines?: readonly Engine[]
}

/**
 * Whether this node has the engine is not asked: a login node may lack what the job's nodes have.
 * @throws BERTH_EENGINE unknown, BERTH_EPOLICY not offered here, BERTH_EABILITY lacks what a flag needs
 */
export function pickEngine(request: Request, site: SiteView, choice: Choice = {}): Engine {
  const { candidates } = findCandidates(request, site, choice)
  return candidates[0]
}

interface Picked {
  engine: Engine
  installed: Installed
  why: Reason
}

/** On the node that runs it. @throws as pickEngine, and BERTH_EENGINEMISSING */
export async function pickInstalled(
  request: Request,
  site: SiteView,
  find: FindEngine,
  choice: Choice = {},
): Promise<Picked> {
  const { candidates, passed, reason, origin } = findCandidates(request, site, choice)
  const problems: string[] = []
  for (const engine of candidates) {
    const presence = await find(engine)
    if (!('problem' in presence)) {
      const others = passed.length === 0 ? '' : `, passed by: ${passed.join('; ')}`
      return { engine, installed: presence, why: { reason: `${reason}${others}`, origin } }
    }
    problems.push(presence.problem)
    passed.push(`${engine.name} (${presence.problem})`)
  }
  const [{ name, needs }] = candidates
  throw new BerthError('BERTH_EENGINEMISSING', {
    engine: name,
    problem: problems[0] ?? '',
    install: needs.install ?? 'see `berth doctor`',
  })
}

interface Candidates extends Reason {
  candidates: [Engine, ...Engine[]]
  /** Each with what it cannot do. */
  passed: string[]
}

/** One, or with `auto` all that can do what is asked, in order. */
function findCandidates(
  request: Request,
  site: SiteView,
  { partition = '', engines = ENGINES }: Choice,
): Candidates {
  const { name, origin } = nameEngine(request, site, partition)
  checkPolicy(name, request, site, engines)
  const demands = demandsOf(request, site)
  const offered = engines.filter((engine) => isOffered(engine, site))
  if (name === AUTOMATIC) {
    const [first, ...others] = offered.filter((engine) => missing(engine, demands) === undefined)
    const unable = offered.flatMap((engine) => {
      const lacking = missing(engine, demands)
      return lacking === undefined ? [] : [`${engine.name} (cannot ${lacking.flag})`]
    })
    const reason = 'auto: the first that this node has and that can do what is asked'
    if (first !== undefined) return { candidates: [first, ...others], passed: unable, reason, origin }
  }
  const engine = name === AUTOMATIC ? offered[0] : engineByName(name, engines)
  if (engine === undefined) {
    const others = engines.filter((other) => !offered.includes(other))
    const more = others.length === 0 ? '' : `; not offered here: ${list(others)}`
    throw new BerthError('BERTH_EENGINE', { engine: name, engines: `${list(offered)}${more}` })
  }
  const lacking = missing(engine, demands)
  if (lacking === undefined) return { candidates: [engine], passed: [], reason: 'named', origin }
  const able = offered.filter((other) => other.abilities[lacking.ability])
  throw new BerthError('BERTH_EABILITY', { engine: engine.name, flag: lacking.flag, engines: list(able) })
}

/** Entries of engine_partitions are PARTITION=ENGINE. */
function nameEngine(request: Request, site: SiteView, partition: string): { name: string; origin: string } {
  if (request.engine !== '') return { name: request.engine, origin: '--container-engine' }
  const own = site.get('engine_partitions').find((entry) => entry.startsWith(`${partition}=`))
  if (own === undefined) return { name: site.get('engine'), origin: site.origin('engine') }
  return { name: own.slice(partition.length + 1), origin: site.origin('engine_partitions') }
}

function checkPolicy(name: string, request: Request, site: SiteView, engines: readonly Engine[]): void {
  if (name !== AUTOMATIC && !isOffered(engineByName(name, engines) ?? { name }, site)) {
    throw new BerthError('BERTH_EPOLICY', {
      what: `engine ${name}`,
      key: 'engines',
      origin: site.origin('engines'),
    })
  }
  if (request.engineArgs.length > 0 && site.get('engine_args') === 'deny') {
    throw new BerthError('BERTH_EPOLICY', {
      what: '--container-engine-args',
      key: 'engine_args',
      origin: site.origin('engine_args'),
    })
  }
}

/**
 * The site has not left it out. Who can start containers by a daemon of root's is as good as root: such an engine is the
 * site's to allow.
 */
export function isOffered({ name, start }: Pick<Engine, 'name' | 'start'>, site: Pick<Site, 'get'>): boolean {
  const offered = site.get('engines')
  return offered.includes(name) || (offered.length === 0 && start?.byDaemon !== true)
}

function missing(engine: Engine, demands: readonly Demand[]): Demand | undefined {
  return demands.find(({ ability }) => !engine.abilities[ability])
}

function list(engines: readonly Engine[]): string {
  return engines.length === 0 ? 'none here' : engines.map(({ name }) => name).join(', ')
}
