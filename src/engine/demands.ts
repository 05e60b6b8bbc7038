// SPDX-License-Identifier: Apache-2.0
/** What a request asks of an engine: one row per ability that a flag, or the site in its place, calls for. */
import type { Request } from '../request/request.js'
import type { Site } from '../site/site.js'
import type { Ability } from './engine.js'

export interface Demand {
  ability: Ability
  /** As the user would have written it, or the site's key and its place. */
  flag: string
}

type SiteView = Pick<Site, 'get' | 'origin'>

export function demandsOf(request: Request, site: SiteView): Demand[] {
  const demands: Demand[] = []
  const ask = (ability: Ability, flag: string, asked: boolean): void => {
    if (asked) demands.push({ ability, flag })
  }
  const kinds = new Set(request.mounts.map(({ kind }) => kind))
  ask('mounts', '--container-mounts', kinds.has('bind'))
  ask('tmpfsMounts', '--container-mounts=tmpfs:…', kinds.has('tmpfs'))
  ask('umount', '--container-mounts=umount:…', kinds.has('umount'))
  ask('writable', '--container-writable', request.readonly === false)
  ask('writableSize', '--container-writable=SIZE', request.writableSize !== undefined)
  ask('named', '--container-name', request.name !== undefined)
  ask('save', '--container-save', request.save !== undefined)
  ask('shmSize', '--container-shm-size', request.shmSize !== undefined)
  ask('unshareNet', '--container-unshare=net', request.unshare.includes('net'))
  ask('unshareIpc', '--container-unshare=ipc', request.unshare.includes('ipc'))
  ask('unshareUts', '--container-unshare=uts', request.unshare.includes('uts'))
  ask('unsharePid', '--container-unshare=pid', request.unshare.includes('pid'))
  ask('profiles', '--container-profile', request.profiles.length > 0)
  ask('cdi', '--container-device', request.devices.length > 0)
  ask('mpi', '--container-mpi', request.mpi !== undefined)
  ask('engineArgs', '--container-engine-args', request.engineArgs.length > 0)
  demands.push(...demandsOfSite(request, site))
  return demands
}

/** Where the user says nothing the site's default asks, and is named in the error. */
function demandsOfSite(request: Request, site: SiteView): Demand[] {
  const demands: Demand[] = []
  if (request.remapRoot === true) demands.push({ ability: 'remapRoot', flag: '--container-remap-root' })
  if (request.remapRoot === undefined && site.get('container_remap_root')) {
    demands.push({
      ability: 'remapRoot',
      flag: `container_remap_root (${site.origin('container_remap_root')})`,
    })
  }
  if (request.entrypoint === true) demands.push({ ability: 'entrypoint', flag: '--container-entrypoint' })
  if (request.entrypoint === undefined && site.get('container_entrypoint')) {
    demands.push({
      ability: 'entrypoint',
      flag: `container_entrypoint (${site.origin('container_entrypoint')})`,
    })
  }
  return demands
}
