// SPDX-License-Identifier: Apache-2.0
/** `berth engines`: what this node has, and what each engine can do. */
import type { Site } from '../site/site.js'
import type { Abilities, Ability } from './engine.js'
import { ENGINES } from './engines.js'
import type { FindEngine } from './installed.js'
import { isOffered } from './select.js'

export interface EngineRow {
  name: string
  summary: string
  /** denied: the site's `engines` leaves it out. */
  state: 'ready' | 'missing' | 'denied'
  /** Empty unless it is ready. */
  version: string
  binary: string
  /** Why it is not ready, and what to do. */
  problem: string
  abilities: Abilities
}

/** In words of the options, for those that are not the option's own name. */
const WORDS: Partial<Record<Ability, string>> = {
  writableSize: 'writable=SIZE',
  tmpfsMounts: 'mounts=tmpfs:',
  umount: 'mounts=umount:',
  named: 'name',
  remapRoot: 'remap-root',
  unshareNet: 'unshare=net',
  unshareIpc: 'unshare=ipc',
  unshareUts: 'unshare=uts',
  unsharePid: 'unshare=pid',
  shmSize: 'shm-size',
  cdi: 'device',
  profiles: 'profile',
  sharedByTasks: 'one container for all tasks',
  stepCgroup: "step's memory limit",
  engineArgs: 'engine-args',
}

export function describeEngines(site: Pick<Site, 'get' | 'origin'>, find: FindEngine): Promise<EngineRow[]> {
  return Promise.all(
    ENGINES.map(async ({ name, summary, abilities, ...engine }): Promise<EngineRow> => {
      const row = { name, summary, version: '', binary: '', abilities }
      if (!isOffered({ name, ...engine }, site))
        return { ...row, state: 'denied', problem: `not among the engines of ${site.origin('engines')}` }
      const presence = await find({ name, summary, abilities, ...engine })
      if ('problem' in presence) {
        const { install } = engine.needs
        const problem = install === undefined ? presence.problem : `${presence.problem}: ${install}`
        return { ...row, state: 'missing', problem }
      }
      return { ...row, ...presence, state: 'ready', problem: '' }
    }),
  )
}

/** What it cannot do, in words of the options. */
export function lacks(abilities: Abilities): string[] {
  return (Object.keys(abilities) as Ability[])
    .filter((ability) => !abilities[ability])
    .map((ability) => WORDS[ability] ?? ability)
}
