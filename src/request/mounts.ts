// SPDX-License-Identifier: Apache-2.0
/**
 * --container-mounts=SRC:DST[:FLAG[+FLAG…]][,…]: PATH alone means PATH:PATH, tmpfs:DST[:OPTIONS] a fresh tmpfs,
 * umount:DST takes away a mount that berth would have made.
 */
import { joinFields, splitFields } from './fields.js'
import { checkMountFlags } from './mount_flags.js'
import { optionProblem, showValue } from './problem.js'
import type { MountRequest } from './request.js'

/** Each is a system call or two in the worker; sites bind tens of paths, a generated list of this length is a mistake. */
const MOUNTS_MAX = 256
const OPTION = 'container-mounts'

/**
 * Parses the whole list; identical entries count once, as Slurm may hand the same option over twice.
 * @param option named in errors: the flag, or the site's key
 * @throws BERTH_EOPTION
 */
export function parseMounts(
  text: string,
  variables: ReadonlyMap<string, string>,
  option: string = OPTION,
): MountRequest[] {
  if (text === '') throw optionProblem(option, 'argument required')
  const mounts = new Map<string, MountRequest>()
  for (const fields of splitFields(option, text, variables)) {
    const mount = parseMount(option, fields)
    const key = JSON.stringify([mount.source, mount.target, mount.flags])
    if (!mounts.has(key)) mounts.set(key, mount)
  }
  if (mounts.size > MOUNTS_MAX) throw optionProblem(option, `more than ${MOUNTS_MAX} mounts`)
  return [...mounts.values()]
}

/** The list as parseMounts reads it, variables and quotes resolved: what a job is pinned to at submit. */
export function formatMounts(mounts: readonly MountRequest[]): string {
  return joinFields(
    mounts.map(({ source, target, flags }) =>
      flags.length === 0 ? [source, target] : [source, target, flags.join('+')],
    ),
  )
}

function parseMount(option: string, fields: readonly string[]): MountRequest {
  const shown = showValue(fields.join(':'))
  const [source = '', target = source, flagText] = fields
  if (fields.length === 1 && source === '')
    throw optionProblem(option, 'invalid format: an empty entry, as of a comma too many')
  if (fields.length > 3 || source === '' || target === '')
    throw optionProblem(option, `invalid format: ${shown}`)
  const kind = source === 'tmpfs' || source === 'umount' ? source : 'bind'
  if (kind === 'bind' && !isPath(source)) {
    const expected = 'a relative path, an absolute path, "tmpfs" or "umount"'
    throw optionProblem(option, `invalid format: ${shown}: mount source must be ${expected}`)
  }
  if (!isPath(target)) {
    const expected = 'a relative path or an absolute path'
    throw optionProblem(option, `invalid format: ${shown}: mount target must be ${expected}`)
  }
  // Scripts write $SRC:$DST:$FLAGS, and there may be no flags.
  const flags = flagText === undefined || flagText === '' ? [] : flagText.split('+')
  checkMountFlags(option, kind, flags, shown)
  return { source, kind, target, flags }
}

/** A relative path starts with a dot, so that a word with a typing error never becomes a directory. */
function isPath(text: string): boolean {
  return (text.startsWith('/') || text.startsWith('.')) && !text.includes('\0')
}
