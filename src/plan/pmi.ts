// SPDX-License-Identifier: Apache-2.0
/**
 * Slurm's process managers: PMI2 is an inherited descriptor (PMI_FD) and needs nothing; PMIx' client must reach the
 * server's directory (SlurmdSpoolDir/pmix.JOB.STEP) and its own (TmpFS/spmix_appdir_UID_JOB.STEP, hidden by a private
 * /tmp), and be told the modules that the server speaks (mpi/pmix of Slurm 22.05 to 25.11).
 */
import { isAbsolute, join } from 'node:path'
import { insideRoot } from './cwd.js'
import type { PlanInput } from './input.js'
import type { HookupEdits, PlannedMount, PlannedVariable } from './spec.js'

const ORIGIN = 'mpi/pmix of Slurm'
/** Slurm's name of a mode → the client's MCA parameter. */
const MODULES: Readonly<Record<string, string>> = {
  PMIX_SECURITY_MODE: 'PMIX_MCA_psec',
  PMIX_GDS_MODULE: 'PMIX_MCA_gds',
  PMIX_PTL_MODULE: 'PMIX_MCA_ptl',
}
/** mpi.conf PMIxCliTmpDirBase is TmpFS unless set; SLURM_PMIX_TMPDIR overrides both. */
const CLIENT_BASE = '/tmp'

export function planPmi(input: PlanInput): Partial<HookupEdits> {
  return {
    mounts: planPmiMounts(input),
    variables: planPmiVariables(input.step.environment),
    warnings: planPmiWarnings(input),
  }
}

/** A parameter that the user gave is left alone. */
function planPmiVariables(environment: ReadonlyMap<string, string>): PlannedVariable[] {
  const variables: PlannedVariable[] = []
  for (const [mode, name] of Object.entries(MODULES)) {
    const value = environment.get(mode)
    if (value === undefined || value === '' || environment.has(name)) continue
    variables.push({
      name,
      action: 'set',
      value,
      reason: `as ${mode}, for clients that read no other`,
      origin: ORIGIN,
    })
  }
  return variables
}

/**
 * PMIx' module "native" compares the number that the client says it has with the one that Slurm knows (psec/native of
 * PMIx 3 to 5): PMIx_Init then fails with UNREACHABLE, and nothing tells why. Said to those who asked for root
 * themselves: where it is the site's default, most steps use no PMIx.
 */
function planPmiWarnings({ request, step }: PlanInput): string[] {
  const mode = step.environment.get('PMIX_SECURITY_MODE') ?? ''
  if (request.remapRoot !== true || !mode.split(',').includes('native')) return []
  return [
    "Slurm's PMIx wants the user's own number: as root inside, MPI programs cannot reach it; leave out --container-remap-root",
  ]
}

/** Opened with the user's rights: the directories come from the user's environment. Each may be missing. */
function planPmiMounts({ step, user }: PlanInput): PlannedMount[] {
  const server = step.environment.get('PMIX_SERVER_TMPDIR')
  if (server === undefined || !isAbsolute(server)) return []
  const base = step.environment.get('SLURM_PMIX_TMPDIR') ?? CLIENT_BASE
  const client = join(
    isAbsolute(base) ? base : CLIENT_BASE,
    `spmix_appdir_${user.uid}_${step.job}.${step.step}`,
  )
  return [bindSame(server, "PMIx server's directory"), bindSame(client, "PMIx client's directory")]
}

function bindSame(path: string, reason: string): PlannedMount {
  return {
    kind: 'bind',
    source: path,
    target: insideRoot(path),
    flags: ['nosuid', 'nodev'],
    recursive: false,
    create: 'dir',
    trusted: false,
    optional: true,
    replaceLink: false,
    reason,
    origin: ORIGIN,
  }
}
