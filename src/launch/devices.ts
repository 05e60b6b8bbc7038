// SPDX-License-Identifier: Apache-2.0
/** What is in the node's /dev, for plans that do not take it whole. */
import { type Dirent, readdirSync, readlinkSync } from 'node:fs'
import type { HostDevice } from '../plan/input.js'

const DIRECTORY = '/dev'

export function listDevices(): HostDevice[] {
  return readdirSync(DIRECTORY, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(describe)
}

function describe(entry: Dirent): HostDevice[] {
  const { name } = entry
  if (entry.isSymbolicLink()) {
    try {
      return [{ name, kind: 'link', to: readlinkSync(`${DIRECTORY}/${name}`) }]
    } catch {
      return []
    }
  }
  if (entry.isDirectory()) return [{ name, kind: 'directory' }]
  return entry.isCharacterDevice() || entry.isBlockDevice() ? [{ name, kind: 'node' }] : []
}
