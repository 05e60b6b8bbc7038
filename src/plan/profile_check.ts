// SPDX-License-Identifier: Apache-2.0
/** All mistakes of all profiles, without a step: for `berth check`. */
import { BerthError } from '../report/errors.js'
import type { ProfileSet } from '../site/profile_set.js'
import { checkBinds } from './profiles.js'

/** @returns a line each: place, key, what is wrong */
export function checkProfiles({ byName, problems }: ProfileSet): string[] {
  const more = [...byName.values()].flatMap((profile) => {
    try {
      checkBinds(profile)
      return []
    } catch (error) {
      if (error instanceof BerthError) return [`${profile.place}: ${error.message}`]
      throw error
    }
  })
  return [...problems, ...more]
}
