// SPDX-License-Identifier: Apache-2.0
/** The rooms that all steps of a worker share. */
import { engineFinder, type FindEngine } from '../engine/installed.js'
import { messageOf } from '../report/errors.js'
import { DIST } from '../site/dist.js'
import type { Site } from '../site/site.js'
import type { Store } from '../store/store.js'
import { hideLeftovers } from './engine_root.js'
import { HostReader } from './host_facts.js'
import { JobEnds } from './job_end.js'
import { openStore } from './open_store.js'
import { Running } from './running.js'

export interface Rooms {
  site: Site
  store: Store
  running: Running
  jobEnds: JobEnds
  findEngine: FindEngine
  host: HostReader
  /** Exists in every job's mount namespace and may be covered while a container is built. */
  staging: string
  /** A step's tasks were seen in namespaces that are not the worker's: a place for the next ones cannot be guessed. */
  jobsApart: { seen: boolean }
}

/** @throws BerthError when the site gives the rooms no place or no account */
export async function openRooms(site: Site, staging: string, log: (line: string) => void): Promise<Rooms> {
  const store = await openStore(site, DIST, log)
  hideLeftovers(staging, log)
  const running = new Running()
  const jobEnds = new JobEnds(store.containers, running, log)
  const host = new HostReader(site)
  // The first step finds it read; where that failed, it reads again and hears of it.
  host.read().catch((error: unknown) => log(`facts of the node: ${messageOf(error)}`))
  return {
    site,
    store,
    running,
    host,
    jobEnds,
    findEngine: engineFinder(site),
    staging,
    jobsApart: { seen: false },
  }
}
