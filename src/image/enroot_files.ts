// SPDX-License-Identifier: Apache-2.0
/**
 * The config of an image as files of its squashfs, for who has nothing but the squashfs: enroot reads /etc/environment
 * and runs /etc/rc, berth reads its own file, which holds all of it.
 */
import type { AddedFile } from '../native.js'
import type { ImageConfig } from './image.js'
import { SAVED_CONFIG, savedConfig } from './saved.js'

/** pyxis writes this file to keep /etc/rc from starting the entrypoint; an image may have its own, of another kind. */
const RC_LOCAL = '# Run by /etc/rc before the entrypoint.\n'
const SHELL = '/bin/sh'

/** @param uri where the image came from, for who reads /etc/rc */
export function enrootFiles(config: ImageConfig, uri: string): AddedFile[] {
  const file = (path: string, content: string): AddedFile => ({ path, content, replace: true })
  return [
    file(SAVED_CONFIG, savedConfig(config)),
    file('etc/environment', linesOf(config.env.filter((entry) => !/[\n\r]/.test(entry)))),
    file('etc/fstab', linesOf(volumesOf(config).map(mountOnItself))),
    file('etc/rc', commandScript(config, uri)),
    file('etc/rc.local', RC_LOCAL),
    ...directoryOf(config.workdir),
    ...volumesOf(config).flatMap(directoryOf),
  ]
}

/** With a command: the entrypoint on it; without one: what the image would start. */
function commandScript({ workdir, entrypoint, cmd }: ImageConfig, uri: string): string {
  const directory = quote(workdir === '' ? '/' : workdir)
  const own = entrypoint.length + cmd.length === 0 ? [SHELL] : cmd
  return linesOf([
    `# enroot-provenance: ${uri.replace(/\p{Cc}/gu, '?')}`,
    `mkdir -p ${directory} 2>/dev/null`,
    `cd ${directory} || exit 1`,
    'unset OLDPWD',
    '[ ! -s /etc/rc.local ] || . /etc/rc.local',
    `[ $# -gt 0 ] || set -- ${own.map(quote).join(' ')}`,
    `exec ${[...entrypoint.map(quote), '"$@"'].join(' ')}`,
  ])
}

/** fstab(5) has no way to write the others. */
function volumesOf({ volumes = [] }: ImageConfig): string[] {
  return volumes.filter((path) => !/[\s\p{Cc}\\$#]/u.test(path))
}

/** So that it can be written where the root cannot. */
function mountOnItself(path: string): string {
  return `\${ENROOT_ROOTFS}${path} ${path} none x-create=dir,bind,rw,nosuid,nodev`
}

/** enroot's own command could not make it where the root is read-only. */
function directoryOf(workdir: string): AddedFile[] {
  const path = workdir.split('/').filter((name) => name !== '' && name !== '.')
  return path.length === 0 || path.includes('..') ? [] : [{ path: `${path.join('/')}/`, content: '' }]
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}

function linesOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('')
}
