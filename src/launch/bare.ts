// SPDX-License-Identifier: Apache-2.0
/** Launches that are not what the engine said word for word: no container at all, or the image's own command. */
import type { LaunchFields } from '../engine/engine.js'
import type { ImageConfig } from '../image/image.js'

/**
 * A step that turned out to want no container: its program runs where Slurm put it, unchanged. `bare` says that this
 * is meant: the launcher takes an answer without namespaces for a fault otherwise.
 */
export const launchAsIs: LaunchFields = {
  cwd: '',
  set: [],
  defaults: [],
  unset: [],
  argv: [],
  noNewPrivileges: false,
  bare: true,
}

/** POSIX; an image with neither entrypoint nor command is made to be looked into. */
const SHELL = '/bin/sh'

/** What runs is not what was asked for word for word. */
interface Commanded {
  /** `berth run IMAGE` without a command: the image's own. */
  imageCommand?: true
  /** `enroot start`: the entrypoint takes the command as its words, and what it executes in the end is its own matter. */
  entrypointFirst?: true
}

/** A command line made with what the image says of itself, as docker does it. */
export function launchWithImage(launch: LaunchFields, facts: Commanded, config?: ImageConfig): LaunchFields {
  const { entrypoint, ...rest } = launch
  if (facts.entrypointFirst === true && entrypoint !== undefined)
    return { ...rest, argv: [...entrypoint.argv, ...(facts.imageCommand ? (config?.cmd ?? []) : [])] }
  if (facts.imageCommand !== true) return launch
  const own = [...(entrypoint === undefined ? (config?.entrypoint ?? []) : []), ...(config?.cmd ?? [])]
  return { ...launch, argv: own.length === 0 ? [SHELL] : own }
}
