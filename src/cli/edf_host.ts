// SPDX-License-Identifier: Apache-2.0
/** Environment files as this process sees them: its directory, its variables, its rights. */
import { readFileSync, statSync } from 'node:fs'
import { formatEdf, isRendered } from '../request/edf.js'
import type { EdfHost } from '../request/edf_render.js'
import { NO_IMAGE } from '../request/image.js'
import { loadSite } from '../site/site.js'
import type { Places } from './command.js'

/** Written by hand; a larger one is another file. */
const FILE_BYTES_MAX = 1 << 20

/** @param systemPath the site's directories where the plugstack line names them, which no file tells */
export function edfHost(places: Places, systemPath?: string): EdfHost {
  const site = loadSite(places.config === undefined ? {} : { config: places.config })
  return {
    environment: new Map(Object.entries(process.env).map(([name, value]) => [name, value ?? ''])),
    cwd: process.cwd(),
    systemPath: (systemPath ?? site.get('edf_system_search_path')).split(':').filter((path) => path !== ''),
    read: readRegular,
    annotations: site.profiles.annotations,
  }
}

/**
 * The container options of a command line with environment files rendered: what the worker is sent, as from srun.
 * @throws BERTH_EEDF, BERTH_EEDFNAME
 */
export async function renderOptions(options: readonly string[], places: Places): Promise<string[]> {
  return Promise.all(
    options.map(async (option) => {
      const name = /^(?:environment|edf)=(.*)$/s.exec(option)?.[1]
      if (name === undefined || name === NO_IMAGE || isRendered(name)) return option
      // Loaded when needed only: most commands read no TOML.
      const { renderEdf } = await import('../request/edf_render.js')
      const { edf, notes } = renderEdf(name, edfHost(places))
      for (const note of notes) process.stderr.write(`berth: note: ${note}\n`)
      return `edf=${formatEdf(edf)}`
    }),
  )
}

/** A pipe in place of a file must not hold the command up. */
function readRegular(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return undefined
  if (!stat.isFile()) throw new Error('it is no regular file')
  if (stat.size > FILE_BYTES_MAX) throw new Error(`it is larger than ${FILE_BYTES_MAX} bytes`)
  return readFileSync(path, 'utf8')
}
