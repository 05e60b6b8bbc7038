// SPDX-License-Identifier: Apache-2.0
/** What an engine wants launched, and the namespaces, as the one frame that turns a launcher into the user's program. */
import type { LaunchFields } from '../engine/engine.js'
import { type Fields, type FieldValue, Flag, type FrameTag, Tag } from '../worker/frame.js'
import { fakeRootFilter } from './fake_root.js'
import { CLONE_FLAG, type Namespaces } from './namespaces.js'

const FAKE_ROOT = fakeRootFilter()

export interface JoinFrame {
  fields: Fields
  fds: number[]
}

/** The descriptors stay the caller's; the kernel duplicates them into each task. */
export function joinFrame(
  launch: LaunchFields,
  namespaces: Namespaces | undefined,
  options: { stay: boolean } = { stay: false },
): JoinFrame {
  const open = namespaces?.fds ?? []
  const { entrypoint } = launch
  const lease = namespaces?.lease
  const flags =
    (launch.noNewPrivileges ? Flag.NO_NEW_PRIVS : 0) |
    (launch.bare ? Flag.BARE : 0) |
    (entrypoint?.log === true ? Flag.ENTRYPOINT_LOG : 0) |
    (options.stay ? Flag.STAY : 0)
  const fields: [FrameTag, FieldValue][] = [
    ...open.map(({ name }): [FrameTag, FieldValue] => [Tag.NS, CLONE_FLAG[name]]),
    ...(lease === undefined ? [] : [[Tag.LEASE, 1] as [FrameTag, FieldValue]]),
    ...(launch.cwd === '' ? [] : [[Tag.CWD, launch.cwd] as [FrameTag, FieldValue]]),
    ...tagged(Tag.ENV_SET, launch.set),
    ...tagged(Tag.ENV_DEFAULT, launch.defaults),
    ...tagged(Tag.ENV_UNSET, launch.unset),
    ...tagged(Tag.ENV_COPY, launch.copies ?? []),
    ...tagged(Tag.ENTRYPOINT, entrypoint?.argv ?? []),
    ...tagged(Tag.ENV_ENTRY, entrypoint?.sees ?? []),
    ...tagged(Tag.ENV_KEEP, entrypoint?.keeps ?? []),
    ...tagged(Tag.ARGV, launch.argv),
    ...(launch.fakeRoot === true ? [[Tag.SECCOMP, FAKE_ROOT] as [FrameTag, FieldValue]] : []),
    [Tag.FLAGS, flags],
  ]
  return { fields, fds: [...open.map(({ fd }) => fd), ...(lease === undefined ? [] : [lease])] }
}

function tagged(tag: FrameTag, values: readonly string[]): [FrameTag, FieldValue][] {
  return values.map((value) => [tag, value])
}
