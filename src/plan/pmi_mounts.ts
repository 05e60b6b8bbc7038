// SPDX-License-Identifier: Apache-2.0
/**
 * Directories of Slurm's process managers, of this step alone: PMIx' server (SlurmdSpoolDir/pmix.JOB.STEP), its client
 * (spmix_appdir_UID_JOB.STEP below TmpFS, or where mpi.conf or the user says, hidden by a private /tmp), and PALS, which
 * mpi/cray_shasta writes (SlurmdSpoolDir/mpi_cray_shasta/JOB.STEP). All are opened with the user's rights, since the
 * environment that names them is the user's; each may be missing.
 */
import { isAbsolute, join, posix } from 'node:path'
import { insideRoot } from './cwd.js'
import type { PlanInput } from './input.js'
import type { PlannedMount } from './spec.js'

const PMIX = 'mpi/pmix of Slurm'
const PALS = 'mpi/cray_shasta of Slurm'
/** mpi.conf PMIxCliTmpDirBase is TmpFS unless set, and that is this; SLURM_PMIX_TMPDIR is over both. */
const CLIENT_BASE = '/tmp'

export function planPmiMounts(input: PlanInput): PlannedMount[] {
  return [...planPmix(input), ...planPals(input)]
}

/** Name of the directory that slurmstepd makes for the clients of a step (mpi/pmix, pmixp_info.c). */
export function clientName({ user, step }: Pick<PlanInput, 'user' | 'step'>): string {
  return `spmix_appdir_${user.uid}_${step.job}.${step.step}`
}

function planPmix(input: PlanInput): PlannedMount[] {
  const { step } = input
  const server = step.environment.get('PMIX_SERVER_TMPDIR')
  if (server === undefined || !isAbsolute(server)) return []
  return [
    bindSame(server, "PMIx server's directory", PMIX),
    ...clientsOf(input).map((path) => bindSame(path, "PMIx client's directory", PMIX)),
  ]
}

function clientsOf(input: PlanInput): readonly string[] {
  const named = input.step.environment.get('SLURM_PMIX_TMPDIR') ?? ''
  const found = input.host?.pmixClients ?? []
  if (!isAbsolute(named) && found.length > 0) return [...new Set(found)]
  return [join(isAbsolute(named) ? named : CLIENT_BASE, clientName(input))]
}

/** Only what ends in this step's own name: what lies beside it belongs to other steps of the node. */
function planPals({ step }: PlanInput): PlannedMount[] {
  const apinfo = step.environment.get('PALS_APINFO') ?? ''
  const spool = step.environment.get('PALS_SPOOL_DIR') ?? ''
  const places = [apinfo === '' ? '' : posix.dirname(apinfo), spool]
  return [...new Set(places.filter(isAbsolute).map((path) => posix.normalize(path)))]
    .filter((path) => posix.basename(path) === `${step.job}.${step.step}`)
    .map((path) => bindSame(path, "PALS' directory of the step", PALS))
}

function bindSame(path: string, reason: string, origin: string): PlannedMount {
  return {
    ...{ kind: 'bind', source: path, target: insideRoot(path), flags: ['nosuid', 'nodev'] },
    ...{ recursive: false, create: 'dir', trusted: false, optional: true, replaceLink: false },
    ...{ reason, origin },
  }
}
