// SPDX-License-Identifier: Apache-2.0
/**
 * The words of GSI's slurm-singularity-exec said in container-* options: --singularity-container=REF|PATH,
 * --singularity-bind=SRC[:DST[:ro|rw]][,…], --singularity-args=ARGS, --singularity-no-bind-defaults.
 */
import { type Level, say } from './dialect.js'
import { joinFields } from './fields.js'
import { NO_IMAGE } from './image.js'
import { optionProblem, showValue } from './problem.js'

/** @throws BERTH_EOPTION, BERTH_ECONFLICT; leaves none of GSI's words in the level but the one without ours. */
export function translateGsi(level: Level): void {
  // Empty takes the default image of the site back (README, "SLURM_SINGULARITY_CONTAINER").
  say(level, 'singularity-container', 'container-image', (text) => (text.trim() === '' ? NO_IMAGE : text))
  say(level, 'singularity-bind', 'container-mounts', (text, name) => {
    const binds = text.split(',').filter((bind) => bind !== '')
    if (binds.length === 0) throw optionProblem(name, 'argument required')
    return joinFields(binds.map((bind) => gsiMount(bind, name)))
  })
  // For the command line of apptainer or singularity; whether users may is the site's engine_args.
  say(level, 'singularity-args', 'container-engine-args', (text) => (text.trim() === '' ? undefined : text))
}

function gsiMount(bind: string, name: string): string[] {
  const [source = '', target = source, mode, ...more] = bind.split(':')
  const known = mode === undefined || mode === 'ro' || mode === 'rw'
  if (!source.startsWith('/') || !target.startsWith('/') || !known || more.length > 0)
    throw optionProblem(name, `invalid format: ${showValue(bind)}: must be /SRC[:/DST[:ro|rw]]`)
  return [source, target, ...(mode === undefined ? [] : [mode])]
}
