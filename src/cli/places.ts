// SPDX-License-Identifier: Apache-2.0
/** Where this instance of berth lives: flag, then environment, then berth's line in plugstack.conf, then the default. */
import { join, resolve } from 'node:path'
import { KEYS } from '../site/keys.js'
import type { Places } from './command.js'

/** What this command was told. @param runtimeDir where it was not told of one */
export function placesFrom(
  values: Readonly<Record<string, string>>,
  env: NodeJS.ProcessEnv = process.env,
  runtimeDir: string = KEYS.runtime_dir.default,
): Places {
  const store = told(values.store, env.BERTH_STORE)
  const config = told(values.config, env.BERTH_CONFIG)
  return {
    runtimeDir: told(values['runtime-dir'], env.BERTH_RUNTIME_DIR) ?? runtimeDir,
    ...(store === undefined ? {} : { store }),
    ...(config === undefined ? {} : { config }),
  }
}

/** The same on this node, where plugstack.conf may name another directory than the default. */
export async function placesHere(values: Readonly<Record<string, string>>): Promise<Places> {
  if (told(values['runtime-dir'], process.env.BERTH_RUNTIME_DIR) !== undefined) return placesFrom(values)
  const { ownRuntimeDir } = await import('./plugin_line.js')
  return placesFrom(values, process.env, await ownRuntimeDir())
}

function told(flag: string | undefined, variable: string | undefined): string | undefined {
  const text = flag || variable
  return text ? resolve(text) : undefined
}

export function socketOf(places: Places): string {
  return join(places.runtimeDir, 'worker.sock')
}
