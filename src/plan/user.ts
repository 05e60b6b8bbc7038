// SPDX-License-Identifier: Apache-2.0
/**
 * /etc/passwd and /etc/group inside: the user's own lines first (a lookup takes the first match), then what the image
 * has, so that programs of the image find their accounts and the user has a name.
 */
import type { PlanUser } from './input.js'

const ROOT_LINE = 'root:x:0:0:root:/root:/bin/sh'
const NOBODY_LINE = 'nobody:x:65534:65534:nobody:/:/sbin/nologin'
/** Not x: the image's shadow file has no line for the user, and PAM then denies the account (sshd in a step). */
const NO_PASSWORD = '*'
/** The shell POSIX guarantees; a host's zsh is rarely in an image. */
const FALLBACK_SHELL = '/bin/sh'
/** apt changes to this account, which cannot work with one mapped id; without it apt stays as it is (apt-sandbox). */
const APT_ACCOUNT = '_apt'

/** @param passwd the image's file, '' when it has none */
export function planPasswd(user: PlanUser, passwd: string, remapRoot: boolean): string {
  const image = splitLines(passwd)
  const shell = shellOf(image)
  const own = remapRoot
    ? [`root:x:0:0:root:/root:${shell}`]
    : [
        `${safe(user.name)}:${NO_PASSWORD}:${user.uid}:${user.gid}:${safe(user.name)}:${safe(user.home)}:${shell}`,
      ]
  const dropped = new Set(own.map(nameOf))
  if (remapRoot) dropped.add(APT_ACCOUNT)
  const kept = image.filter((line) => !dropped.has(nameOf(line)))
  return joinLines(withMissing([...own, ...kept], [ROOT_LINE, NOBODY_LINE]))
}

/** @param group the image's file, '' when it has none */
export function planGroup(user: PlanUser, group: string, remapRoot: boolean): string {
  const image = splitLines(group)
  const own = remapRoot ? ['root:x:0:'] : ownGroups(user, image)
  const dropped = new Set(own.map(nameOf))
  const kept = image.filter((line) => !dropped.has(nameOf(line)))
  return joinLines(withMissing([...own, ...kept], ['root:x:0:', 'nogroup:x:65534:']))
}

/** Host's name, else the image's name of that number, else a made-up one: `id` and login shells want some name. */
function ownGroups(user: PlanUser, image: readonly string[]): string[] {
  const gids = [user.gid, ...user.groups.map(({ gid }) => gid).filter((gid) => gid !== user.gid)]
  return [...new Set(gids)].map((gid) => {
    const host = user.groups.find((group) => group.gid === gid)?.name
    const inImage = image.find((line) => line.split(':')[2] === String(gid))
    const name = host ?? (inImage === undefined ? `gid${gid}` : nameOf(inImage))
    return `${safe(name)}:x:${gid}:${gid === user.gid ? '' : safe(user.name)}`
  })
}

/** The user's in the lines that planPasswd() writes. */
export function shellInside(passwd: string): string {
  return shellOf(splitLines(passwd))
}

/** Root's shell in the image is one that the image has. */
function shellOf(image: readonly string[]): string {
  const shell = image.find((line) => nameOf(line) === 'root')?.split(':')[6] ?? ''
  return /^\/[\w./-]*sh$/.test(shell) ? shell : FALLBACK_SHELL
}

function withMissing(lines: string[], wanted: readonly string[]): string[] {
  const names = new Set(lines.map(nameOf))
  return [...lines, ...wanted.filter((line) => !names.has(nameOf(line)))]
}

function nameOf(line: string): string {
  return line.split(':', 1)[0] ?? ''
}

/** A field of a passwd line: a colon or newline in it would start another field or account. */
function safe(field: string): string {
  return field.replace(/[:\n\r\0]/g, '_')
}

function splitLines(text: string): string[] {
  return text.split('\n').filter((line) => line.includes(':'))
}

function joinLines(lines: readonly string[]): string {
  return `${lines.join('\n')}\n`
}
