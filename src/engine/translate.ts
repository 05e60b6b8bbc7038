// SPDX-License-Identifier: Apache-2.0
/** A plan as namespaces to build, joined by each task, and as what the launcher does in them; for every engine. */
import { join } from 'node:path'
import type { MountStep, NamespaceSpec } from '../native.js'
import type { Plan, PlannedMount, PlannedVariable } from '../plan/spec.js'
import { DIST } from '../site/dist.js'
import type { EnginePlace, LaunchFields, Translation } from './engine.js'

const INIT = join(DIST, 'berth-init')

export function translate(plan: Plan, place: EnginePlace): Translation {
  return { namespaces: namespaceSpec(plan, place), launch: launchFields(plan) }
}

function namespaceSpec(plan: Plan, place: EnginePlace): NamespaceSpec {
  const { uid, gid, additionalGids, insideUid, insideGid } = plan.process.user
  return {
    image: place.image,
    readonly: plan.root.readonly,
    upperSize: plan.root.writableSize,
    ...rootOf(place),
    uid,
    gid,
    gids: additionalGids,
    insideUid,
    insideGid,
    idmap: place.idmap,
    mounts: plan.mounts.map(mountStep),
    unshare: plan.namespaces.flatMap(({ type }) => {
      if (type === 'network') return ['net' as const]
      return type === 'ipc' || type === 'uts' || type === 'pid' ? [type] : []
    }),
    ...(plan.namespaces.some(({ type }) => type === 'pid') ? { init: INIT } : {}),
    ...(place.mountNs === undefined ? {} : { mountNs: place.mountNs }),
    ...(place.userNs === undefined ? {} : { userNs: place.userNs }),
    staging: place.staging,
  }
}

function rootOf({
  root,
  disk,
}: EnginePlace): Pick<NamespaceSpec, 'upperDir' | 'upperDevice' | 'keepRoot' | 'rootNs'> {
  if (root === undefined) return disk === undefined ? {} : { upperDevice: disk }
  const { directory, rootNs } = root
  return { upperDir: directory, ...(rootNs === undefined ? { keepRoot: true } : { rootNs }) }
}

/** The addon takes exactly the fields of MountStep. */
function mountStep({ reason: _reason, origin: _origin, ...step }: PlannedMount): MountStep {
  return step
}

/** Of the task's variables, beside those that the user names: who it is, and which part of the job. */
const ENTRYPOINT_SEES = [
  'HOME',
  'USER',
  'LOGNAME',
  'TERM',
  'TMPDIR',
  'SLURM_*',
  'SLURMD_*',
  'PMI_*',
  'PMIX_*',
]

function launchFields(plan: Plan): LaunchFields {
  const { env, cwd, args, entrypoint, noNewPrivileges } = plan.process
  const assigned = (action: PlannedVariable['action']): string[] =>
    env.filter((variable) => variable.action === action).map(({ name, value }) => `${name}=${value ?? ''}`)
  return {
    cwd,
    set: assigned('set'),
    defaults: assigned('default'),
    unset: env.filter(({ action }) => action === 'unset').map(({ name }) => name),
    copies: assigned('copy'),
    argv: [],
    ...(args.length === 0
      ? {}
      : {
          entrypoint: {
            argv: args,
            log: entrypoint?.log === true,
            sees: ENTRYPOINT_SEES,
            keeps: entrypoint?.keeps ?? [],
          },
        }),
    fakeRoot: true,
    noNewPrivileges,
    bare: false,
  }
}
