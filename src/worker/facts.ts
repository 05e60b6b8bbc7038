// SPDX-License-Identifier: Apache-2.0
/** What root (or, for `berth run`, the kernel) told the worker about one step; plain data, so that a lease can hold it. */
import { readFileSync } from 'node:fs'
import type { Peer } from '../native.js'
import { formatStepName, stepIdOf, variablesNeeded } from '../step.js'
import { type Frame, ProtocolError, Tag } from './frame.js'
import { OPTIONS_PER_FRAME_MAX } from './limits.js'

type StepContext = 'step' | 'batch' | 'interactive' | 'run' | 'srun' | 'sbatch' | 'salloc'

export interface StepFacts {
  /** 32 hex digits: the shim's handle, or the ticket of `berth run`. */
  handle: string
  context: StepContext
  job: number
  step: number
  restart: number
  uid: number
  gid: number
  gids: number[]
  /** Index of this node in the step. */
  node: number
  localTasks: number
  totalTasks: number
  /** "name=value" as the shim sent them. */
  options: string[]
  env: Record<string, string>
  cwd: string
  /** The batch script on the host. */
  script?: string
  /** `berth run` without a command: the image's own. */
  imageCommand?: true
  /** `enroot start`: the image's entrypoint takes the command as its words. */
  entrypointFirst?: true
  /** `berth oci run`: what its container is called. */
  id?: string
  /** Of `berth run`: the process that asked. */
  process?: number
}

const HANDLE_BYTES = 16
const CONTEXTS: readonly string[] = ['step', 'batch', 'interactive', 'run', 'srun', 'sbatch', 'salloc']
/** Variables that the grammar, the planner or an engine may read; nothing else of a job's environment is kept. */
const ENV_KEPT =
  /^(BERTH_|PYXIS_|SLURM_|SLURMD_|SRUN_DEBUG$|PMI|OMPI_|(CUDA|ROCR|HIP|NVIDIA)_VISIBLE_DEVICES$|NVIDIA_|CUDA_MPS_|GPU_DEVICE_ORDINAL$|ZE_AFFINITY_MASK$|LD_LIBRARY_PATH$|XAUTHORITY$|HOME$|USER$|PATH$|TMPDIR$|TERM$|XDG_|REGISTRY_AUTH_FILE$|DOCKER_(CONFIG|CONTEXT|HOST|CERT_PATH|TLS_VERIFY)$|ENROOT_)/

/** @param also names that the site's profiles read. @throws ProtocolError when a field is missing or malformed. */
export function readRegister(frame: Frame, also: ReadonlySet<string> = new Set()): StepFacts {
  const context = required(frame.text(Tag.CONTEXT), 'CONTEXT')
  if (!CONTEXTS.includes(context)) throw new ProtocolError(`unknown context ${context}`)
  const script = frame.text(Tag.SCRIPT)
  const options = readOptions(frame)
  return {
    handle: readHandle(frame.bytes(Tag.HANDLE)),
    context: context as StepContext,
    job: required(frame.number(Tag.JOB), 'JOB'),
    step: required(frame.number(Tag.STEP), 'STEP'),
    restart: frame.number(Tag.RESTART) ?? 0,
    uid: required(frame.number(Tag.UID), 'UID'),
    gid: required(frame.number(Tag.GID), 'GID'),
    gids: frame.numbers(Tag.GIDS),
    node: frame.number(Tag.NODE) ?? 0,
    localTasks: frame.number(Tag.LOCAL_TASKS) ?? 1,
    totalTasks: frame.number(Tag.TOTAL_TASKS) ?? 0,
    options,
    env: keepEnvironment(frame.environment(), options, also),
    cwd: frame.text(Tag.CWD) ?? '/',
    ...(script === undefined || script === '' ? {} : { script }),
  }
}

/**
 * Facts of a request without Slurm: who asks is the kernel's word; groups are those of the asking process.
 * @throws ProtocolError when a field is malformed
 */
export function factsOfPeer(peer: Peer, frame: Frame, context: string): StepFacts {
  if (!CONTEXTS.includes(context)) throw new ProtocolError(`unknown context ${context}`)
  const options = readOptions(frame)
  return {
    handle: '',
    context: context as StepContext,
    job: 0,
    step: 0,
    restart: 0,
    uid: peer.uid,
    gid: peer.gid,
    gids: groupsOf(peer),
    node: 0,
    localTasks: 1,
    totalTasks: 1,
    options,
    env: keepEnvironment(frame.environment(), options),
    cwd: frame.text(Tag.CWD) ?? '/',
  }
}

/** Supplementary groups of the peer, none when its pid is gone or another user's by now (proc(5), status). */
function groupsOf(peer: Peer): number[] {
  try {
    const status = readFileSync(`/proc/${peer.pid}/status`, 'utf8')
    const uids = /^Uid:\t(.*)$/m.exec(status)?.[1]?.split('\t') ?? []
    if (uids.some((uid) => Number(uid) !== peer.uid)) return []
    const groups = /^Groups:\t(.*)$/m.exec(status)?.[1]?.trim() ?? ''
    return groups === '' ? [] : groups.split(/\s+/).map(Number)
  } catch {
    return []
  }
}

/** @throws ProtocolError on too many options. */
export function readOptions(frame: Frame): string[] {
  const options = frame.texts(Tag.OPTION)
  if (options.length > OPTIONS_PER_FRAME_MAX) throw new ProtocolError(`${options.length} options`)
  return options
}

/** @throws ProtocolError unless it is 16 bytes. */
export function readHandle(bytes: Buffer | undefined): string {
  if (bytes?.length !== HANDLE_BYTES) throw new ProtocolError('handle is not 16 bytes')
  return bytes.toString('hex')
}

/** The part of an environment that a lease holds; mounts given by variable may mention others. */
export function keepEnvironment(
  env: ReadonlyMap<string, string>,
  options: readonly string[],
  also: ReadonlySet<string> = new Set(),
): Record<string, string> {
  const fromVariables = [...env]
    .filter(([name]) => name.endsWith('CONTAINER_MOUNTS'))
    .map(([, value]) => `container-mounts=${value}`)
  const mentioned = new Set(variablesNeeded([...options, ...fromVariables]))
  return Object.fromEntries(
    [...env].filter(([name]) => ENV_KEPT.test(name) || mentioned.has(name) || also.has(name)),
  )
}

/** How messages name a step: "step 4711.0", "job 4711", "berth run". */
export function nameStep(facts: Pick<StepFacts, 'context' | 'job' | 'step' | 'id'>): string {
  if (facts.id !== undefined) return `container ${facts.id}`
  if (facts.context === 'run') return 'berth run'
  if (facts.context === 'step') return `step ${facts.job}.${facts.step}`
  return `job ${facts.job}`
}

/** How commands take it: "4711.0", "4711.batch", "run.1234", a container's id. */
export function shortName(facts: StepFacts): string {
  return facts.id ?? formatStepName(stepIdOf(facts))
}

function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new ProtocolError(`field ${name} is missing`)
  return value
}
