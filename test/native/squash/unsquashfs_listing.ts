// SPDX-License-Identifier: Apache-2.0
/** An image as unsquashfs lists it, and a listing of a tree in the same words. */
import { run } from './workbench.js'

/** S_IFMT of inode(7) in octal digits. */
const KINDS: Readonly<Record<string, string>> = { '4': 'd', '10': '-', '12': 'l' }
const PERMISSION_DIGITS = 4

/** As unsquashfs tells them: mode, owner, size but of directories, minute. */
export function summaries(listing: Map<string, string>): Map<string, string> {
  return new Map(
    [...listing].map(([name, line]) => {
      const [mode = '', uid = '', gid = '', mtime = '', content = ''] = line.split(' ')
      const kind = KINDS[mode.slice(0, -PERMISSION_DIGITS)] ?? '?'
      const size = kind === 'd' ? '' : kind === 'l' ? content.length : content
      const minute = new Date(Number(mtime) * 1000).toISOString().slice(0, 16).replace('T', ' ')
      return [name, `${kind}${letters(Number.parseInt(mode, 8))} ${uid}/${gid} ${size} ${minute}`]
    }),
  )
}

function letters(mode: number): string {
  const plain = [...'rwxrwxrwx'].map((letter, i) => (mode & (0o400 >> i) ? letter : '-'))
  for (const [bit, at, small] of [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ] as const)
    if (mode & bit) plain[at] = plain[at] === 'x' ? small : small.toUpperCase()
  return plain.join('')
}

export function listedByUnsquashfs(image: string): Map<string, string> {
  const lines = run('unsquashfs', '-UTC', '-lln', image).split('\n')
  const form = /^(.)(\S{9}) +(\d+\/\d+) +(\d+) (\S+ \S+) squashfs-root\/?(.*)$/
  return new Map(
    lines.flatMap((line) => {
      const [, kind = '', mode, owner, size, minute, name = ''] = form.exec(line) ?? []
      if (kind === '') return []
      const path = kind === 'l' ? name.replace(/ -> .*/, '') : name
      return [[path, `${kind}${mode} ${owner} ${kind === 'd' ? '' : size} ${minute}`]]
    }),
  )
}
