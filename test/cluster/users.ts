// SPDX-License-Identifier: Apache-2.0
/** Two ordinary users with supplementary groups: Slurm needs real accounts, so they are made and later removed. */
import { must, run } from './command.js'

interface TestUser {
  name: string
  uid: number
  /** Supplementary groups by name and id. */
  groups: readonly (readonly [string, number])[]
}

/** High ids that no distribution hands out by itself. */
export const USER_A: TestUser = {
  name: 'berth-a',
  uid: 61_201,
  groups: [
    ['berth-lab', 61_211],
    ['berth-gpu', 61_212],
  ],
}
export const USER_B: TestUser = { name: 'berth-b', uid: 61_202, groups: [['berth-lab', 61_211]] }
export const USERS: readonly TestUser[] = [USER_A, USER_B]

/** Idempotent: makes what is missing, one test file at a time. */
export async function ensureUsers(): Promise<void> {
  const script = USERS.flatMap(({ name, uid, groups }) => [
    ...[[name, uid] as const, ...groups].map(([group, gid]) => `groupadd --force --gid ${gid} ${group}`),
    `id -u ${name} >/dev/null 2>&1 ||`,
    `  useradd -m -s /bin/bash -u ${uid} -g ${name} -G ${groups.map(([group]) => group).join(',')} ${name}`,
  ])
  await must(['flock', '/home', 'sh', '-ec', script.join('\n')])
}

/** Removes both users, their homes and groups; what is absent already is no error. */
export async function removeUsers(): Promise<void> {
  for (const user of USERS) await run(['userdel', '--force', '--remove', user.name])
  for (const name of new Set(USERS.flatMap((user) => [user.name, ...user.groups.map(([group]) => group)]))) {
    await run(['groupdel', name])
  }
}
