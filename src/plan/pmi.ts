// SPDX-License-Identifier: Apache-2.0
/**
 * Slurm's process managers: PMI2 is an inherited descriptor (PMI_FD) and needs nothing; PMIx' client must reach the
 * server's directory (SlurmdSpoolDir/pmix.JOB.STEP) and its own (TmpFS/spmix_appdir_UID_JOB.STEP, hidden by a private
 * /tmp), and be told the modules that the server speaks (mpi/pmix of Slurm 22.05 to 25.11).
 */
import { compareVersions } from '../image/elf_names.js'
import { originOf, type PlanInput } from './input.js'
import { mpiMode } from './mpi_mode.js'
import { planPmiMounts } from './pmi_mounts.js'
import type { HookupEdits, PlannedVariable } from './spec.js'

const ORIGIN = 'mpi/pmix of Slurm'
const PTL = 'PMIX_MCA_ptl'
const LIBRARY = /^libpmix\.so/
const STRANGE = "Slurm's PMIx wants the user's own number: as root inside, MPI programs cannot reach it"
/** Slurm's name of a mode → the client's MCA parameter. */
const MODULES: Readonly<Record<string, string>> = {
  PMIX_SECURITY_MODE: 'PMIX_MCA_psec',
  PMIX_GDS_MODULE: 'PMIX_MCA_gds',
  PMIX_PTL_MODULE: PTL,
}

export function planPmi(input: PlanInput): Partial<HookupEdits> {
  if (mpiMode(input) === 'off') return {}
  return {
    mounts: planPmiMounts(input),
    variables: planPmiVariables(input),
    warnings: [...planPmiWarnings(input), ...planVersionWarnings(input)],
    notes: [...planPmiNotes(input), ...(isStrange(input) ? [`pmix: ${STRANGE}`] : [])],
  }
}

/** A parameter that the user gave is left alone. */
function planPmiVariables({ step: { environment }, image: { facts } }: PlanInput): PlannedVariable[] {
  const releases = (facts?.pmix ?? []).map(({ release }) => release).filter((release) => release !== '')
  const variables: PlannedVariable[] = []
  for (const [mode, name] of Object.entries(MODULES)) {
    const named = (environment.get(mode) ?? '').split(',')
    const value = named
      .filter((module) => releases.every((release) => knows(release, name, module)))
      .join(',')
    if (value === '' || environment.has(name)) continue
    variables.push({
      name,
      action: 'set',
      value,
      reason: `as ${mode}, for clients that read no other${value === named.join(',') ? '' : "; less what the image's PMIx does not have"}`,
      origin: ORIGIN,
    })
  }
  return variables
}

/**
 * PMIx' module "native" compares the number that the client says it has with the one that Slurm knows (psec/native of
 * PMIx 3 to 5): PMIx_Init then fails with UNREACHABLE, and nothing tells why. Said to those who gave the flag: where
 * a variable or the site chose root, scripts made for pyxis read the output of --mpi=pmix and count on no line of ours.
 */
function planPmiWarnings(input: PlanInput): string[] {
  const byFlag = originOf(input.request, 'container-remap-root', '').startsWith('flag ')
  return byFlag && isStrange(input) ? [`${STRANGE}; leave out --container-remap-root`] : []
}

function isStrange({ request, site, step }: PlanInput): boolean {
  const modes = (step.environment.get('PMIX_SECURITY_MODE') ?? '').split(',')
  return (request.remapRoot ?? site.get('container_remap_root')) && modes.includes('native')
}

/**
 * Clients and servers of 2.1 and later understand each other, whatever their majors; those before only their own
 * (openpmix.github.io, "How does PMIx work with containers": cross-version compatibility).
 */
function planVersionWarnings({ step, image }: PlanInput): string[] {
  const server = step.environment.get('PMIX_VERSION') ?? ''
  const clients = (image.facts?.pmix ?? []).map(({ release }) => release).filter((release) => release !== '')
  if (server === '' || clients.length === 0) return []
  const strangers = clients.filter((client) => !canTalk(client, server))
  if (strangers.length < clients.length) return []
  return [
    `the image has PMIx ${strangers[0]}, Slurm's is ${server}: these do not understand each other; use --mpi=pmi2 or an image with PMIx 2.1 or later`,
  ]
}

function planPmiNotes(input: PlanInput): string[] {
  const { step, image } = input
  const server = step.environment.get('PMIX_VERSION')
  if (server === undefined || image.facts === undefined) return []
  const clients = image.facts.pmix.map(({ path, release }) => `${release || 'of unknown release'} (${path})`)
  const has = clients.length === 0 ? 'no PMIx library of its own' : `PMIx ${clients.join(', ')}`
  return [
    `pmix: Slurm's server is ${server}, the image has ${has}`,
    ...planStrangerNotes(input),
    ...planNeighbourNotes(step),
  ]
}

/** A note and no warning: with MpiDefault=pmix it is said of every program, and few of an image are of MPI. */
function planStrangerNotes({ image, host }: PlanInput): string[] {
  const { mpi = [], pmix = [] } = image.facts ?? {}
  const isOpen = mpi.some(({ family }) => family === 'openmpi')
  const ofNode = (host?.mpi ?? []).some(
    ({ family, dependencies }) =>
      family === 'mpich' && [...dependencies.keys()].some((name) => LIBRARY.test(name)),
  )
  if (mpi.length === 0 || isOpen || pmix.length > 0 || ofNode) return []
  return [
    "pmix: an MPI that was built without PMIx, as this image's, takes each task for rank 0 of 1: use --mpi=pmi2",
  ]
}

/** PMIx tells a client of the ranks beside it by the host's name, without the domain (pmix_keep_fqdn_hostnames). */
function planNeighbourNotes({ environment }: PlanInput['step']): string[] {
  const host = environment.get('PMIX_HOSTNAME')?.split('.')[0]
  const node = environment.get('SLURMD_NODENAME')?.split('.')[0]
  if (host === undefined || node === undefined || host === node) return []
  return [
    `pmix: this host is called ${host}, and ${node} by Slurm: Open MPI 5 and later takes the ranks of one node for those of several`,
  ]
}

function canTalk(client: string, server: string): boolean {
  const isOld = (release: string) => compareVersions(release, '2.1') < 0
  if (!isOld(client) && !isOld(server)) return true
  return client.split('.')[0] === server.split('.')[0]
}

/** A client that is told of a module it does not have gives up, even when it has another that is named. */
function knows(release: string, parameter: string, module: string): boolean {
  const since = (version: string) => compareVersions(release, version) >= 0
  // 4.0 made one transport of tcp and usock, and chooses it itself.
  if (parameter === PTL) return !since('4')
  if (/^ds\d+$/.test(module)) return !since('5') && (module !== 'ds21' || since('3'))
  return !/^shmem/.test(module) || since('5')
}
