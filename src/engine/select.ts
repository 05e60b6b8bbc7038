// SPDX-License-Identifier: Apache-2.0
/** Which engine runs a request, decided before anything is pulled. */
import { BerthError } from '../report/errors.js'
import type { Request } from '../request/request.js'
import type { Site } from '../site/site.js'
import { type Demand, demandsOf } from './demands.js'
import type { Engine } from './engine.js'
import { ENGINES, engineByName } from './engines.js'

type SiteView = Pick<Site, 'get' | 'origin'>

/** Takes the first engine that can do all that is asked. */
const AUTOMATIC = 'auto'

/**
 * @param engines the table, given by tests
 * @throws BERTH_EENGINE unknown, BERTH_EPOLICY not offered here, BERTH_EABILITY lacks what a flag needs
 */
export function pickEngine(request: Request, site: SiteView, engines: readonly Engine[] = ENGINES): Engine {
  const name = request.engine === '' ? site.get('engine') : request.engine
  checkPolicy(name, request, site)
  const demands = demandsOf(request, site)
  const offered = engines.filter((engine) => isOffered(engine.name, site))
  if (name === AUTOMATIC) {
    const able = offered.find((engine) => missing(engine, demands) === undefined)
    if (able !== undefined) return able
  }
  const engine = name === AUTOMATIC ? offered[0] : engineByName(name, engines)
  if (engine === undefined) {
    throw new BerthError('BERTH_EENGINE', { engine: name, engines: list(offered) })
  }
  const lacking = missing(engine, demands)
  if (lacking === undefined) return engine
  const able = offered.filter((other) => other.abilities[lacking.ability])
  throw new BerthError('BERTH_EABILITY', { engine: engine.name, flag: lacking.flag, engines: list(able) })
}

function checkPolicy(name: string, request: Request, site: SiteView): void {
  if (name !== AUTOMATIC && !isOffered(name, site)) {
    throw new BerthError('BERTH_EPOLICY', { what: `engine ${name}`, origin: site.origin('engines') })
  }
  if (request.engineArgs.length > 0 && site.get('engine_args') === 'deny') {
    throw new BerthError('BERTH_EPOLICY', {
      what: '--container-engine-args',
      origin: site.origin('engine_args'),
    })
  }
}

function isOffered(name: string, site: SiteView): boolean {
  const offered = site.get('engines')
  return offered.length === 0 || offered.includes(name)
}

function missing(engine: Engine, demands: readonly Demand[]): Demand | undefined {
  return demands.find(({ ability }) => !engine.abilities[ability])
}

function list(engines: readonly Engine[]): string {
  return engines.length === 0 ? 'none here' : engines.map(({ name }) => name).join(', ')
}
