// SPDX-License-Identifier: Apache-2.0
/**
 * The plan as JSON for --container-explain: an OCI runtime spec, and beside it the key "berth" with what that format
 * has no place for: who asked for each part and why (docs/decisions/0005-explain-output.md). Field order is fixed and
 * nothing depends on time or chance, so that two outputs can be compared with diff.
 */
import type { Plan, PlannedHook, PlannedMount, PlannedVariable, Reason } from './spec.js'

/** Raised when a field is renamed or removed; new fields do not raise it. */
const SCHEMA = 1
/** Source of a file that berth writes itself. */
const GENERATED = 'berth:generated'
const MODE_RADIX = 8

/** How an engine of the host is started around the root, once per node and step. */
export interface ShownStart {
  binary: string
  version: string
  runsAs: string
  before: string[][]
  command: string[]
  environment: Record<string, string>
  /** Written before, by path. */
  files: string[]
  teardown: string[][]
}

interface ShownEngine {
  why: Reason
  /** Absent: berth is the engine. */
  start?: ShownStart
}

/** @returns indented JSON with a final newline */
export function explainPlan(plan: Plan, engine?: ShownEngine): string {
  const { uid, gid, additionalGids, insideUid, insideGid } = plan.process.user
  const document = {
    ociVersion: plan.ociVersion,
    process: {
      terminal: false,
      user: { uid: insideUid, gid: insideGid, additionalGids },
      args: plan.process.args,
      env: plan.process.env.filter(({ action }) => action === 'set').map(assign),
      cwd: plan.process.cwd,
      noNewPrivileges: plan.process.noNewPrivileges,
    },
    root: { path: plan.image.path, readonly: plan.root.readonly },
    mounts: plan.mounts.flatMap(ociMount),
    linux: {
      namespaces: plan.namespaces.map(({ type }) => ({ type })),
      uidMappings: [mapping(insideUid, uid)],
      gidMappings: [mapping(insideGid, gid), ...additionalGids.map((id) => mapping(id, id))],
    },
    ...(plan.hooks.length === 0 ? {} : { hooks: ociHooks(plan.hooks) }),
    annotations: plan.annotations,
    berth: explainReasons(plan, engine),
  }
  return `${JSON.stringify(document, undefined, 2)}\n`
}

function explainReasons(plan: Plan, engine?: ShownEngine): object {
  const { reason, origin, writableSize } = plan.root
  const { reference, digest, signer } = plan.image
  return {
    schema: SCHEMA,
    engine: plan.engine,
    ...(engine === undefined ? {} : { engineChoice: because(engine.why), engineStart: engine.start }),
    image: { reference, digest, ...(signer === undefined ? {} : { signer }) },
    root: { writableSize, reason, origin },
    cwd: plan.process.cwdReason,
    env: plan.process.env.map(explainVariable),
    mounts: plan.mounts.map(explainMount),
    namespaces: plan.namespaces.map(({ type, ...why }) => ({ type, ...because(why) })),
    ...(plan.hooks.length === 0 ? {} : { hooks: plan.hooks.map(explainHook) }),
    warnings: plan.warnings,
    notes: plan.notes,
    ...(plan.kept.length === 0 ? {} : { kept: plan.kept }),
  }
}

function ociHooks(hooks: readonly PlannedHook[]): object {
  const stages = [...new Set(hooks.map(({ stage }) => stage))]
  const of = (wanted: string) =>
    hooks
      .filter(({ stage }) => stage === wanted)
      .map(({ path, args, env, seconds }) => ({ path, args: [path, ...args], env, timeout: seconds }))
  return Object.fromEntries(stages.map((stage) => [stage, of(stage)]))
}

function explainHook(hook: PlannedHook): object {
  const { stage, path, digest } = hook
  return { stage, path, ...(digest === '' ? {} : { digest }), ...because(hook) }
}

function explainVariable(variable: PlannedVariable): object {
  const { name, action, value } = variable
  return { name, action, ...(value === undefined ? {} : { value }), ...because(variable) }
}

/** Every step in its order, also those that are no mounts in OCI's sense. */
function explainMount(mount: PlannedMount): object {
  return { destination: mount.target, kind: mount.kind, ...detail(mount), ...because(mount) }
}

function detail(mount: PlannedMount): object {
  switch (mount.kind) {
    case 'bind':
      return { source: mount.source, optional: mount.optional }
    case 'file':
      return { bytes: mount.content.length }
    case 'dir':
      return {
        mode: mount.mode.toString(MODE_RADIX),
        ...(mount.writable === true ? { writable: true } : {}),
      }
    case 'symlink':
      return { to: mount.to }
    default:
      return {}
  }
}

function ociMount(mount: PlannedMount): object[] {
  const destination = mount.target
  switch (mount.kind) {
    case 'bind': {
      if (mount.plain === true) return []
      const bind = mount.recursive ? 'rbind' : 'bind'
      return [{ destination, type: 'none', source: mount.source, options: [bind, ...mount.flags] }]
    }
    case 'tmpfs': {
      const mode = `mode=${mount.mode.toString(MODE_RADIX)}`
      const options = [...mount.flags, mode, ...mount.options.split(',').filter((option) => option !== '')]
      return [{ destination, type: 'tmpfs', source: 'tmpfs', options }]
    }
    case 'mqueue':
    case 'devpts':
      return [{ destination, type: mount.kind, source: mount.kind, options: mount.flags }]
    case 'proc':
      return [{ destination, type: 'proc', source: 'proc', options: ['nosuid', 'nodev', 'noexec'] }]
    case 'file':
      if (mount.plain === true) return []
      return [{ destination, type: 'none', source: GENERATED, options: ['bind', 'ro'] }]
    default:
      return []
  }
}

function because({ reason, origin }: Reason): Reason {
  return { reason, origin }
}

function assign({ name, value }: PlannedVariable): string {
  return `${name}=${value ?? ''}`
}

function mapping(containerID: number, hostID: number): object {
  return { containerID, hostID, size: 1 }
}
