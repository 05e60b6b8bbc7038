// SPDX-License-Identifier: Apache-2.0
/** Who the step's user is on this host: names for numbers, as the container's passwd and group files will show them. */
import { native } from '../native.js'
import type { PlanUser } from '../plan/input.js'

/** A user without a passwd entry (LDAP away, container hosts) still runs: with a number for a name. */
export async function findUser(ids: {
  uid: number
  gid: number
  gids: readonly number[]
}): Promise<PlanUser> {
  const { uid, gid } = ids
  const gids = [...new Set([gid, ...ids.gids])]
  const [user, ...names] = await Promise.all([
    native.userByUid(uid),
    ...gids.map((group) => native.groupName(group)),
  ])
  const groups = gids.map((group, index) => {
    const name = names[index]
    return name === undefined ? { gid: group } : { gid: group, name }
  })
  return { name: user?.name ?? `uid${uid}`, uid, gid, home: user?.home ?? '/', groups }
}
