// SPDX-License-Identifier: Apache-2.0
/** One step's request and the facts about image, site, user and host, as one plan; pure, touches no disk. */
import { planCwd } from './cwd.js'
import { entrypointOf, warnOfScript } from './entrypoint.js'
import { planEnvironment } from './env.js'
import { planHookup } from './hookup.js'
import { BERTH_DEFAULT, originOf, type PlanInput } from './input.js'
import { planMounts } from './mounts.js'
import { NAMESPACE_TYPES, type Plan } from './spec.js'
import { isWritable, writableLayer } from './writable.js'

export type { PlanInput } from './input.js'

/** The runtime-spec release whose names the plan uses. */
const OCI_VERSION = '1.2.0'

/** @throws BERTH_EMOUNTTARGET, BERTH_EOPTION, BERTH_EPOLICY: what the request asks for cannot be planned */
export function planStep(input: PlanInput): Plan {
  const { request, image, engine, user } = input
  const stored = image.stored
  const hookup = planHookup(input)
  return {
    ociVersion: OCI_VERSION,
    engine,
    image: {
      ...{ reference: image.reference, digest: stored?.digest ?? '', path: stored?.path ?? '' },
      ...(stored?.signer === undefined ? {} : { signer: stored.signer }),
    },
    root: planRoot(input),
    process: {
      ...planCwd(input),
      env: planEnvironment(input, hookup),
      ...planEntrypoint(input),
      noNewPrivileges: true,
      user: {
        uid: user.uid,
        gid: user.gid,
        additionalGids: [...new Set(user.groups.map(({ gid }) => gid))].filter((gid) => gid !== user.gid),
        ...insideIds(input),
      },
    },
    mounts: planMounts(input, hookup),
    namespaces: planNamespaces(input),
    annotations: annotate(input),
    hooks: hookup.hooks,
    warnings: [...request.warnings, ...warnOfScript(input), ...hookup.warnings],
    notes: hookup.notes,
    kept: hookup.kept,
  }
}

function planRoot(input: PlanInput): Plan['root'] {
  const { request, site } = input
  const writable = isWritable(input)
  const { on, size } = writableLayer(input)
  const kept =
    request.name === undefined ? `writes go to ${on} and end with the step` : 'writes are kept on disk'
  return {
    readonly: !writable,
    writableSize: size,
    reason: writable ? kept : 'image is shared by its users',
    origin: originOf(request, 'container-writable', site.origin('container_writable')),
  }
}

function planEntrypoint(input: PlanInput): Pick<Plan['process'], 'args' | 'entrypoint'> {
  const args = entrypointOf(input)
  if (args.length === 0) return { args }
  const { entrypointLog, env } = input.request
  return { args, entrypoint: { log: entrypointLog === true, keeps: [...env] } }
}

function insideIds({ request, site, user }: PlanInput): { insideUid: number; insideGid: number } {
  const remapRoot = request.remapRoot ?? site.get('container_remap_root')
  return remapRoot ? { insideUid: 0, insideGid: 0 } : { insideUid: user.uid, insideGid: user.gid }
}

function planNamespaces({ request }: PlanInput): Plan['namespaces'] {
  const origin = originOf(request, 'container-unshare', BERTH_DEFAULT)
  return [
    { type: 'user', reason: 'one for all tasks of the step on a node', origin: BERTH_DEFAULT },
    { type: 'mount', reason: 'one for all tasks of the step on a node', origin: BERTH_DEFAULT },
    ...request.unshare.map((name) => ({ type: NAMESPACE_TYPES[name], reason: 'asked for', origin })),
  ]
}

function annotate({ image, step, request }: PlanInput): Record<string, string> {
  const annotations: Record<string, string> = {
    'io.berth.image': image.reference,
    'io.berth.job': String(step.job),
    'io.berth.step': String(step.step),
  }
  if (image.stored !== undefined) {
    annotations['io.berth.digest'] = image.stored.digest
    for (const [name, value] of Object.entries(image.stored.config.labels)) annotations[name] = value
  }
  return { ...annotations, ...request.annotations }
}
