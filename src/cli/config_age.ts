// SPDX-License-Identifier: Apache-2.0
/** Has the worker read what stands in the configuration now? It reads once, when it starts. */
import { readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { WorkerStatus } from '../worker/status.js'

/** What was changed since, and the way to have it read; undefined: nothing. */
export function unreadChange({
  config,
  started,
  pid,
}: WorkerStatus): { found: string; fix: string } | undefined {
  const changed = filesOf(config).find((file) => changedAt(file) > started)
  if (changed === undefined) return undefined
  return {
    found: `the worker (pid ${pid}) has started before ${changed} was changed`,
    fix: `kill ${pid}: running steps go on, and the next worker reads it`,
  }
}

/** A file that came or went shows at its directory. */
function filesOf(config: string): string[] {
  const dropIns = join(dirname(config), 'conf.d')
  try {
    const names = readdirSync(dropIns).filter((name) => name.endsWith('.conf'))
    return [config, ...names.map((name) => join(dropIns, name)), dropIns]
  } catch {
    return [config]
  }
}

/** Seconds; of the inode, since what distributes files may set the time of the content. 0: not there. */
function changedAt(file: string): number {
  return (statSync(file, { throwIfNoEntry: false })?.ctimeMs ?? 0) / 1000
}
