// SPDX-License-Identifier: Apache-2.0
/** Where this instance of berth lives: flag, then environment, then the default of plugstack.conf. */
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Places } from './command.js'

/** dist/, beside which launcher, keeper and node lie. */
export const DIST = dirname(dirname(fileURLToPath(import.meta.url)))

export function placesFrom(
  values: Readonly<Record<string, string>>,
  env: NodeJS.ProcessEnv = process.env,
): Places {
  const pick = (flag: string, variable: string, otherwise: string) =>
    resolve(values[flag] ?? (env[variable] || undefined) ?? otherwise)
  return {
    runtimeDir: pick('runtime-dir', 'BERTH_RUNTIME_DIR', '/run/berth'),
    store: pick('store', 'BERTH_STORE', '/var/lib/berth'),
    config: pick('config', 'BERTH_CONFIG', '/etc/berth/berth.conf'),
  }
}

export function socketOf(places: Places): string {
  return join(places.runtimeDir, 'worker.sock')
}
