// SPDX-License-Identifier: Apache-2.0
/** A mount of a CDI file as a step: opened with the user's rights, never more than nosuid allows. */
import type { CdiMount } from '../site/cdi_spec.js'
import { insideRoot } from './cwd.js'
import type { PlanInput } from './input.js'
import type { PlannedMount, Reason } from './spec.js'

const ATTRIBUTES = ['ro', 'nosuid', 'nodev', 'noexec']
const PROPAGATION = ['private', 'slave', 'shared', 'unbindable']
/** What a fresh mount has anyway, or where its file system decides. */
const PLAIN = [
  'rw',
  'bind',
  'rbind',
  'suid',
  'dev',
  'exec',
  'relatime',
  'noatime',
  'nodiratime',
  'strictatime',
  'norelatime',
]
const TMPFS_OPTION = /^(size|nr_inodes|mode)=[\w%]+$/
const TMPFS_MODE = 0o1777

/** @returns an Error whose message says what cannot be done */
export function planCdiMount(mount: CdiMount, { host, user }: PlanInput, why: Reason): PlannedMount | Error {
  const { hostPath, containerPath, type, options } = mount
  const target = insideRoot(containerPath)
  if (target === '/') return new Error("the container's root cannot be mounted over")
  const unknown = options.find((option) => !isKnown(option, type))
  if (unknown !== undefined)
    return new Error(`mount of ${containerPath}: unknown option ${unknown.slice(0, 80)}`)
  const attributes = options.filter((option) => ATTRIBUTES.includes(option))
  const propagation = options.map(unrecursed).filter((option) => PROPAGATION.includes(option))
  const flags = [...new Set([...attributes, 'nosuid', ...propagation])]
  if (type === 'tmpfs') {
    const own = options.filter((option) => TMPFS_OPTION.test(option))
    const text = [`uid=${user.uid}`, `gid=${user.gid}`, ...own].join(',')
    return {
      kind: 'tmpfs',
      target,
      options: text,
      flags: [...new Set([...flags, 'nodev'])],
      mode: TMPFS_MODE,
      ...why,
    }
  }
  if (type !== '' && type !== 'bind' && type !== 'none')
    return new Error(`mount of ${containerPath}: file systems of type ${type.slice(0, 80)} are not mounted`)
  if (host?.accelerators?.paths.has(hostPath) !== true)
    return new Error(`needs ${hostPath}, which is not on this node`)
  return {
    ...{ kind: 'bind', source: hostPath, target, flags, recursive: options.includes('rbind') },
    ...{ create: 'auto', trusted: false, optional: false, replaceLink: true, ...why },
  }
}

function isKnown(option: string, type: string): boolean {
  if (ATTRIBUTES.includes(option) || PLAIN.includes(option)) return true
  return PROPAGATION.includes(unrecursed(option)) || (type === 'tmpfs' && TMPFS_OPTION.test(option))
}

function unrecursed(option: string): string {
  return option.replace(/^r(?=private$|slave$|shared$|unbindable$)/, '')
}
