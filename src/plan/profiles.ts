// SPDX-License-Identifier: Apache-2.0
/** The edits of a step's profiles. Their sources are opened with the user's rights, as all of a site's mounts. */
import { posix } from 'node:path'
import { BerthError } from '../report/errors.js'
import { mentionedVariables, splitFields } from '../request/fields.js'
import { checkMountFlags } from '../request/mount_flags.js'
import type { Profile } from '../site/profile.js'
import { insideRoot } from './cwd.js'
import type { PlanInput } from './input.js'
import { planLoader } from './loader.js'
import { planHookFiles } from './oci_hooks.js'
import { type ActiveProfile, chooseProfiles, type ProfileChoice, problemOf } from './profile_choice.js'
import { keepLoadable } from './profile_libraries.js'
import type { PlannedHook, PlannedMount, Reason } from './spec.js'
import { planRequestedMount } from './user_mounts.js'
import type { VariableEdits } from './variables.js'

interface ProfileEdits {
  mounts: PlannedMount[]
  notes: string[]
  /** Names of devices that profiles ask for. */
  devices: (Reason & { name: string })[]
  hooks: PlannedHook[]
}

const GLOB = /[*?]/

/** @throws BERTH_EPROFILE */
export function planProfiles(input: PlanInput, variables: VariableEdits): ProfileEdits {
  const { active, notes } = activeProfiles(input)
  const edits: ProfileEdits = { mounts: [], notes: [...notes], devices: [], hooks: [] }
  const words = profileVariables(input)
  for (const one of active) {
    const why = { reason: `profile ${one.profile.name}`, origin: one.origin }
    const binds = one.profile.binds.flatMap((item) => planBinds(input, one.profile, item, words, why))
    const { mounts, ldPath, note } = keepLoadable(input, one.profile, binds)
    edits.mounts.push(...mounts)
    if (note !== undefined) edits.notes.push(note)
    for (const item of one.profile.copies)
      edits.mounts.push(...planCopy(input, one.profile, item, words, why))
    edits.devices.push(...one.profile.devices.map((name) => ({ name, ...why })))
    planVariables(one, words, variables, why)
    edits.notes.push(...planLoader(variables, ldPath, 'prepend', why))
    const hooks = planHookFiles(input, one.profile, why)
    edits.notes.push(...hooks.notes)
    edits.hooks.push(...hooks.hooks)
  }
  return edits
}

/** Chosen once for each plan: what was found on the host for it decided already. @throws BERTH_EPROFILE */
export function activeProfiles(input: PlanInput): ProfileChoice {
  const { request, site, step, image, host } = input
  const known = host?.accelerators?.profiles
  if (known !== undefined) return known
  return chooseProfiles({
    request,
    profiles: site.profiles,
    environment: step.environment,
    labels: image.stored?.config.labels ?? {},
    onHost: (path) => (host?.accelerators?.globs.get(path) ?? []).length > 0,
  })
}

/** What ${NAME} means in a profile: the step's own variables, and five that nobody can set. */
export function profileVariables({ user, step, launcher }: Pick<PlanInput, 'user' | 'step' | 'launcher'>) {
  return new Map([
    ...step.environment,
    ['USER', user.name],
    ['UID', String(user.uid)],
    ['HOME', user.home],
    ['JOB', String(step.job)],
    ['BERTH', launcher === undefined ? '' : posix.dirname(launcher)],
  ])
}

/** Source patterns of the profiles that are active: what launch/accelerator_facts.ts looks up on the host. */
export function profilePatterns(
  active: readonly ActiveProfile[],
  words: ReadonlyMap<string, string>,
): string[] {
  return active.flatMap(({ profile }) =>
    [...profile.binds, ...profile.copies].flatMap((item) => {
      try {
        return [fieldsOf(profile, item, words).source]
      } catch {
        // Told when the profile is planned.
        return []
      }
    }),
  )
}

/** The grammar of one of its mounts, whatever its variables are. @throws BERTH_EPROFILE */
export function checkBind(profile: Profile, item: string): void {
  const anything = mentionedVariables(item).map((name): [string, string] => [name, '/'])
  fieldsOf(profile, item, new Map(anything))
}

function fieldsOf(profile: Profile, item: string, words: ReadonlyMap<string, string>) {
  try {
    const [entry = [], more] = splitFields('bind', item, words)
    const [source = '', target = '', flags = ''] = entry
    if (more !== undefined || entry.length > 3 || !source.startsWith('/') || !/^(\/|$)/.test(target))
      throw problemOf(profile, `"${item}" should be /SRC[:/DST[:FLAGS]]`)
    const list = flags === '' ? [] : flags.split('+')
    checkMountFlags('bind', 'bind', list, item)
    return { source, target, flags: list }
  } catch (error) {
    if (error instanceof BerthError && error.code === 'BERTH_EOPTION')
      throw problemOf(profile, `${item}: ${error.fields.problem}`)
    throw error
  }
}

function planBinds(
  input: PlanInput,
  profile: Profile,
  item: string,
  words: ReadonlyMap<string, string>,
  why: Reason,
): PlannedMount[] {
  const optional = /\+nofail|:nofail/.test(item)
  let fields: ReturnType<typeof fieldsOf>
  try {
    fields = fieldsOf(profile, item, words)
  } catch (error) {
    // A variable that this user does not have: SCRATCH on a node without one.
    if (optional && error instanceof BerthError && /variable is not set/.test(error.message)) return []
    throw error
  }
  const { source, target, flags } = fields
  const found = foundOnHost(input, profile, source, optional)
  if (found.length > 1 && target !== '' && !target.endsWith('/'))
    throw problemOf(profile, `${source} is more than one file: end ${target} with a slash`)
  const steps = found.map((path) => ({ path, inside: targetOf(path, target) }))
  return steps
    .filter(({ path, inside }) => !isShared(path, inside))
    .map(({ path, inside }) => ({
      ...planRequestedMount(
        { source: path, kind: 'bind', target: inside, flags },
        { cwd: '/', user: input.user, ...why },
      ),
      ...(GLOB.test(source) || optional ? { optional: true } : {}),
      replaceLink: true,
    }))
}

function foundOnHost(
  { host }: PlanInput,
  profile: Profile,
  source: string,
  isOptional: boolean,
): readonly string[] {
  const found = host?.accelerators?.globs.get(source) ?? []
  if (found.length === 0 && !isOptional) throw problemOf(profile, `${source} is not on this node`)
  return found
}

/** The host's /dev is inside already. */
function isShared(path: string, inside: string): boolean {
  return path === inside && /^\/(dev|proc|sys)\//.test(path)
}

function targetOf(path: string, target: string): string {
  if (target === '') return insideRoot(path)
  return insideRoot(target.endsWith('/') ? `${target}${posix.basename(path)}` : target)
}

function planCopy(
  input: PlanInput,
  profile: Profile,
  item: string,
  words: ReadonlyMap<string, string>,
  why: Reason,
): PlannedMount[] {
  const { source, target } = fieldsOf(profile, item, words)
  return foundOnHost(input, profile, source, false).map((path) => ({
    ...{
      kind: 'bind',
      source: path,
      target: targetOf(path, target),
      flags: ['nosuid', 'nodev'],
      recursive: false,
    },
    ...{ create: 'file', trusted: false, optional: false, replaceLink: true, plain: true, ...why },
  }))
}

function planVariables(
  { profile }: ActiveProfile,
  words: ReadonlyMap<string, string>,
  variables: VariableEdits,
  why: Reason,
): void {
  for (const { action, name, value } of profile.env) {
    const text = value.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, word: string) => words.get(word) ?? '')
    if (action === 'set') variables.set(name, text, why)
    else if (action === 'unset') variables.unset(name, why)
    else if (action === 'keep') {
      const host = words.get(name)
      if (host !== undefined) variables.set(name, host, why)
    } else variables.extend(name, text.split(':'), action, why)
  }
}
