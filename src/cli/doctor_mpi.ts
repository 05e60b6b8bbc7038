// SPDX-License-Identifier: Apache-2.0
/** `berth doctor mpi [IMAGE]`: the node's MPI, how a step reaches its process manager, and what an image gets of both. */
import { gatherMpi } from '../launch/host_mpi.js'
import type { HostMpi } from '../plan/host.js'
import { MPI_REMEDIES, type MpiKeptCode } from '../plan/mpi_kept.js'
import { loadSite, type Site } from '../site/site.js'
import type { CommandInput, Places } from './command.js'
import type { Finding } from './doctor.js'
import { describeImage } from './doctor_image.js'
import { settingsHere } from './plugin_line.js'

export interface MpiNode {
  site: Pick<Site, 'get' | 'origin'>
  mpi: readonly HostMpi[]
  problems: readonly string[]
  environment: Readonly<Record<string, string | undefined>>
}

/** Prefixes of the notes that concern MPI; others of the same plan are for other topics. */
const CONCERNS = /^(mpi|pmix?|fabric): /

export async function checkMpi({ args, places }: CommandInput): Promise<Finding[]> {
  const [, image] = args.words
  const findings = describeMpi(await gather(places))
  if (image === undefined) return findings
  const seen = await describeImage(places, [`container-image=${image}`, ...args.container])
  return [...findings, ...judgeMpi(seen)]
}

async function gather(places: Places): Promise<MpiNode> {
  const site = loadSite(await settingsHere(places))
  // The addon is there only once all is built; what the lines say does not need it.
  const { native } = await import('../native.js')
  return {
    site,
    environment: process.env,
    ...(await gatherMpi(native, { named: site.get('mpi_host'), origin: site.origin('mpi_host') }, new Set())),
  }
}

export function describeMpi(node: MpiNode): Finding[] {
  return [describeMode(node), ...describeLibraries(node), describeManager(node)]
}

function describeMode({ site }: MpiNode): Finding {
  const mode = site.get('container_mpi')
  const found = `container_mpi=${mode} (${site.origin('container_mpi')}) where the user says nothing`
  return { check: 'mode', state: 'ok', found }
}

function describeLibraries({ mpi, problems, site }: MpiNode): Finding[] {
  const check = 'MPI'
  const fix = 'root alone may own and write the libraries and their directories; correct mpi_host'
  return [
    ...(mpi.length === 0 && site.get('mpi_host').length === 0
      ? [{ check, state: 'ok' as const, found: "none in the node's ld.so.cache; mpi_host names others" }]
      : []),
    ...mpi.map((one) => describeLibrary(one)),
    ...problems.map((found): Finding => ({ check, state: 'warn', found, fix })),
  ]
}

function describeLibrary(host: HostMpi): Finding {
  const { family, major, libraries, dependencies, missing, origin, open, named } = host
  const check = 'MPI'
  const others = [...Object.keys(libraries).filter((role) => role !== 'c'), ...(open?.parts.keys() ?? [])]
  const bindings = others.length === 0 ? '' : `, with ${others.join(' ')}`
  const found = `${family} ABI ${major}: ${libraries.c?.path} (${origin})${bindings}; needs ${dependencies.size} libraries`
  if (missing.length > 0) {
    const fix = MPI_REMEDIES['missing-library']
    return { check, state: 'warn', found: `${found}, and does not find ${missing.join(' ')}`, fix }
  }
  if (open !== undefined && !named)
    return {
      check,
      state: 'ok',
      found: `${found}; in place of an image's own only with --container-mpi=host`,
    }
  return { check, state: 'ok', found }
}

function describeManager({ environment }: MpiNode): Finding {
  const check = 'process manager'
  const pmix =
    environment.PMIX_VERSION ?? (environment.PMIX_NAMESPACE === undefined ? undefined : 'of unknown release')
  if (pmix !== undefined) return { check, state: 'ok', found: `PMIx ${pmix} of Slurm` }
  if (environment.PMI_FD !== undefined) return { check, state: 'ok', found: 'PMI2 of Slurm' }
  return {
    ...{ check, state: 'warn', found: 'none in the environment: each task would be a program of one rank' },
    fix: 'run it in a step with --mpi=pmix (Open MPI, MPICH 4.2 and later) or --mpi=pmi2 (MPICH)',
  }
}

/** What of an image's plan concerns MPI; where the node's MPI is not taken, what would have to change. */
export function judgeMpi(seen: readonly Finding[]): Finding[] {
  const own = seen.filter(({ state, found }) => state !== 'ok' || CONCERNS.test(found))
  if (own.length === 0)
    return [{ check: 'image', state: 'ok', found: 'nothing of the node concerns its MPI' }]
  return own.map((finding): Finding => {
    const fix = remedyOf(finding.code)
    return fix === '' ? finding : { ...finding, state: 'warn', fix }
  })
}

/** '': nothing is wrong, or a worker of another release has a code that is not known here. */
function remedyOf(code = ''): string {
  return Object.hasOwn(MPI_REMEDIES, code) ? MPI_REMEDIES[code as MpiKeptCode] : ''
}
