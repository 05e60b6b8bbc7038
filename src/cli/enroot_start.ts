// SPDX-License-Identifier: Apache-2.0
/** `enroot start`: its options, and the site's settings that stand for enroot.conf, as berth's options. */
import { loadSite } from '../site/site.js'
import { parseBoolean } from '../site/values.js'
import type { Places } from './command.js'
import { mountOption } from './enroot_mount.js'
import { settingsHere } from './plugin_line.js'

const NAMESPACES = ['pid', 'net', 'ipc', 'uts'] as const

export const START_OPTIONS = {
  root: { type: 'boolean', short: 'r' },
  rw: { type: 'boolean', short: 'w' },
  mount: { type: 'string', short: 'm', multiple: true },
  env: { type: 'string', short: 'e', multiple: true },
  pid: { type: 'boolean' },
  net: { type: 'boolean' },
  ipc: { type: 'boolean' },
  uts: { type: 'boolean' },
} as const

export async function startOptions(places: Places, values: Record<string, unknown>): Promise<string[]> {
  const writable = values.rw === true || (await writableOtherwise(places))
  const mounts = Array.isArray(values.mount) ? values.mount.map(mountOption) : []
  const unshare = NAMESPACES.filter((namespace) => values[namespace] === true)
  // What is given here wins over the image's own; other variables do not.
  const names = variablesOf(values.env).map((entry) => entry.slice(0, entry.indexOf('=')))
  return [
    writable ? 'container-writable=1' : 'container-readonly=1',
    // /etc/rc is run with a command too, and what it says is seen.
    ...['container-entrypoint=1', 'container-entrypoint-log=1'],
    ...(values.root === true ? ['container-remap-root=1'] : []),
    ...(mounts.length === 0 ? [] : [`container-mounts=${mounts.join(',')}`]),
    ...(names.length === 0 ? [] : [`container-env=${names.join(',')}`]),
    ...(unshare.length === 0 ? [] : [`container-unshare=${unshare.join(',')}`]),
  ]
}

/** As in enroot.conf: a named container can be written by steps, and still not by every start. */
async function writableOtherwise(places: Places): Promise<boolean> {
  const asked = parseBoolean(process.env.ENROOT_ROOTFS_WRITABLE ?? '')
  return asked ?? loadSite(await settingsHere(places)).get('container_writable')
}

/** NAME=VALUE of each -e; a NAME alone is the caller's own variable. */
export function variablesOf(given: unknown): string[] {
  return (Array.isArray(given) ? given : [])
    .map(String)
    .map((entry) => (entry.includes('=') ? entry : `${entry}=${process.env[entry] ?? ''}`))
    .filter((entry) => entry.indexOf('=') > 0)
}
