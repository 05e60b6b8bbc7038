// SPDX-License-Identifier: Apache-2.0
/**
 * OCI hooks that berth runs (runtime-spec, "POSIX-platform Hooks"): programs that a site has named in hooks_allow, with
 * the user's rights and never root's (docs/decisions/0022-devices.md). All others are refused, or left out where the site
 * says so.
 */
import { isAbsolute, posix } from 'node:path'
import type { PlanInput } from './input.js'
import type { PlannedHook, Reason } from './spec.js'

/** A hook as CDI files and hook files describe it. */
interface HookWords {
  stage: string
  path: string
  /** The program's own name first, as OCI has it. */
  args: readonly string[]
  env: readonly string[]
  /** Seconds. */
  timeout?: number
}

/** In the order of a container's life, which starts with its first task. */
const HOOK_STAGES = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const
export type HookStage = (typeof HOOK_STAGES)[number]

/** Where a hook names none: as long as a slow file system may need, and far below Slurm's own limits. */
const SECONDS_DEFAULT = 30
const SECONDS_MAX = 300
const DIGEST = /^sha256:[0-9a-f]{64}$/
const NATIVE = 'native'
const SHOWN_CHARS_MAX = 120

/** @returns why it is not run, as one clause */
export function planHook(
  input: Pick<PlanInput, 'site' | 'engine'>,
  words: HookWords,
  { reason, origin }: Reason,
): PlannedHook | string {
  const { stage, path, args, env, timeout = SECONDS_DEFAULT } = words
  const allowed = allowedHook(input.site.get('hooks_allow'), path)
  if (allowed === undefined) return 'hooks_allow does not name it'
  const known = HOOK_STAGES.find((one) => one === stage)
  if (known === undefined) return `there is no moment of the name ${stage}`
  if (input.engine !== NATIVE) return `engine ${input.engine} runs its own hooks only`
  const isInside = known === 'startContainer'
  if (isInside && allowed.digest !== '') return 'a program of the container cannot be held against a digest'
  const seconds = Math.min(timeout === 0 ? SECONDS_DEFAULT : timeout, SECONDS_MAX)
  return {
    ...{ stage: known, path, args: args.slice(1), env: [...env], seconds, digest: allowed.digest },
    ...{ reason, origin },
  }
}

/** Entries of hooks_allow that allow nothing. */
export function uselessEntries(entries: readonly string[]): string[] {
  return entries.filter((entry) => {
    const [place = '', digest, more] = entry.split('=')
    if (more !== undefined || !isAbsolute(place) || place !== posix.normalize(place)) return true
    return digest !== undefined && (place.endsWith('/') || !DIGEST.test(digest))
  })
}

/** As refusals name it. */
export function showHook({ stage, path, args }: Pick<HookWords, 'stage' | 'path' | 'args'>): string {
  return `${stage} hook ${[path, ...args.slice(1)].join(' ').slice(0, SHOWN_CHARS_MAX)}`
}

/** PATH, PATH=sha256:HEX, or DIR/ for each program in it. */
function allowedHook(entries: readonly string[], path: string): { digest: string } | undefined {
  if (!isAbsolute(path) || path !== posix.normalize(path)) return undefined
  for (const entry of entries) {
    const equals = entry.indexOf('=')
    const [place, digest] = equals < 0 ? [entry, ''] : [entry.slice(0, equals), entry.slice(equals + 1)]
    const fits = place.endsWith('/') ? `${posix.dirname(path)}/` === place : path === place
    // One that nobody can meet allows nothing.
    if (fits && (digest === '' || DIGEST.test(digest))) return { digest }
  }
  return undefined
}
