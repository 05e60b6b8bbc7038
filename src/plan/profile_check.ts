// SPDX-License-Identifier: Apache-2.0
/** All mistakes of all profiles, without a step: for `berth check`. */
import { BerthError } from '../report/errors.js'
import { type Profile, placeOf } from '../site/profile.js'
import type { ProfileSet } from '../site/profile_set.js'
import { checkBind } from './profiles.js'

/** @returns a line each: place, key, what is wrong */
export function checkProfiles({ byName, problems }: ProfileSet): string[] {
  const more = [...byName.values()].flatMap((profile) => [
    ...profile.binds.flatMap((item) => problemOfBind(profile, 'bind', item)),
    ...profile.copies.flatMap((item) => problemOfBind(profile, 'copy', item)),
    ...problemOfLoop(profile, byName),
  ])
  return [...problems, ...more.filter((line) => !problems.includes(line))]
}

function problemOfBind(profile: Profile, key: string, item: string): string[] {
  try {
    checkBind(profile, item)
    return []
  } catch (error) {
    if (!(error instanceof BerthError)) throw error
    return [`${placeOf(profile, key, item)}: ${key}: ${error.fields.problem}`]
  }
}

function problemOfLoop(profile: Profile, byName: ReadonlyMap<string, Profile>): string[] {
  const seen = new Set<string>()
  const leadsBack = (name: string): boolean => {
    if (name === profile.name) return true
    if (seen.has(name)) return false
    seen.add(name)
    return (byName.get(name)?.depends ?? []).some(leadsBack)
  }
  return profile.depends
    .filter(leadsBack)
    .map((name) => `${placeOf(profile, 'depends', name)}: depends: ${name} leads back to ${profile.name}`)
}
