// SPDX-License-Identifier: Apache-2.0
/** Which of the site's profiles a step has, and in which order their edits are made; pure. */
import { BerthError } from '../report/errors.js'
import type { Request } from '../request/request.js'
import type { Profile, Trigger } from '../site/profile.js'
import type { ProfileSet } from '../site/profile_set.js'
import { parseBoolean } from '../site/values.js'
import { originOf } from './input.js'

interface ProfileFacts {
  request: Pick<Request, 'profiles' | 'origins' | 'annotations'>
  profiles: ProfileSet | undefined
  environment: ReadonlyMap<string, string>
  labels: Readonly<Record<string, string>>
  /** Is a path, or what matches it, on the host? */
  onHost(path: string): boolean
}

export interface ActiveProfile {
  profile: Profile
  /** Who brought it in. */
  origin: string
}

export interface ProfileChoice {
  active: ActiveProfile[]
  notes: string[]
}

/** As --container-profile: none that the site would add by itself. */
const NONE = 'none'

/** @throws BERTH_EPROFILE for an unknown or broken one, and for two that were named and exclude each other */
export function chooseProfiles(facts: ProfileFacts): ProfileChoice {
  const notes: string[] = []
  const named = facts.request.profiles.filter((name) => name !== NONE)
  const flag = originOf(facts.request as Request, 'container-profile', 'flag --container-profile')
  const chosen = new Map<string, ActiveProfile>()
  const add = (name: string, origin: string, trail: readonly string[] = []): void => {
    if (chosen.has(name)) return
    const profile = facts.profiles?.byName.get(name)
    if (profile === undefined) throw unknown(name, facts.profiles)
    const [broken] = profile.problems
    if (broken !== undefined) throw problemOf(profile, broken)
    if (trail.includes(name)) throw problemOf(profile, `depends on itself: ${[...trail, name].join(' → ')}`)
    for (const other of profile.depends) add(other, `profile ${name}`, [...trail, name])
    chosen.set(name, { profile, origin })
  }
  const asked = new Set(named)
  for (const { profile, why } of triggered(facts)) {
    const rival = named.find((name) => excludes(profile, facts.profiles?.byName.get(name)))
    if (rival === undefined) add(profile.name, why)
    else if (!asked.has(profile.name))
      notes.push(`profile ${profile.name} is left out: ${rival} was asked for`)
  }
  for (const name of named) add(name, flag)
  const active = [...chosen.values()]
  for (const { profile } of active) {
    const rival = active.find((other) => other.profile !== profile && excludes(profile, other.profile))
    if (rival !== undefined) throw problemOf(profile, `cannot be used with ${rival.profile.name}`)
  }
  return { active, notes }
}

/** At submit already: a name that is wrong everywhere. @throws BERTH_EPROFILE */
export function checkNamedProfiles(request: Pick<Request, 'profiles'>, profiles: ProfileSet): void {
  for (const name of request.profiles) {
    if (name === NONE) continue
    const profile = profiles.byName.get(name)
    if (profile === undefined) throw unknown(name, profiles)
    const [broken] = profile.problems
    if (broken !== undefined) throw problemOf(profile, broken)
  }
}

/** Host paths that decide whether a profile applies. */
export function triggerPaths(profiles: ProfileSet | undefined): string[] {
  const all = [...(profiles?.byName.values() ?? [])].flatMap(({ triggers }) => triggers)
  return all.flatMap((trigger) => (trigger.kind === 'host' ? [trigger.path] : []))
}

export function problemOf({ name, place }: Profile, problem: string): BerthError {
  return new BerthError('BERTH_EPROFILE', { profile: name, problem, place: `it is defined in ${place}` })
}

function unknown(profile: string, profiles: ProfileSet | undefined): BerthError {
  const names = [...(profiles?.byName.keys() ?? [])].sort().join(', ')
  return new BerthError('BERTH_EPROFILE', {
    profile,
    problem: 'there is none of that name here',
    place: `they are: ${names}`,
  })
}

function triggered(facts: ProfileFacts): { profile: Profile; why: string }[] {
  if (facts.request.profiles.includes(NONE)) return []
  return [...(facts.profiles?.byName.values() ?? [])].flatMap((profile) => {
    const trigger = profile.triggers.find((one) => holds(one, facts))
    return trigger === undefined ? [] : [{ profile, why: profile.place }]
  })
}

function holds(trigger: Trigger, { environment, labels, onHost, request }: ProfileFacts): boolean {
  switch (trigger.kind) {
    case 'always':
      return true
    case 'host':
      return onHost(trigger.path)
    case 'env':
      return matches(environment.get(trigger.name), trigger.value)
    case 'label':
      return matches(labels[trigger.name], trigger.value)
    case 'annotation':
      return matches(request.annotations?.[trigger.name], trigger.value)
  }
}

/** Without a value to compare with: anything that is no "no". */
function matches(value: string | undefined, wanted: string | undefined): boolean {
  if (value === undefined) return false
  return wanted === undefined ? value !== '' && parseBoolean(value) !== false : value === wanted
}

function excludes(profile: Profile, other: Profile | undefined): boolean {
  if (other === undefined || other.name === profile.name) return false
  return profile.conflicts.includes(other.name) || other.conflicts.includes(profile.name)
}
