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

/** `berth run IMAGE` without a command: entrypoint and command of the image, as docker does it. */
export function launchImageCommand(launch: LaunchFields, config?: ImageConfig): LaunchFields {
  const entrypoint = launch.entrypoint === undefined ? (config?.entrypoint ?? []) : []
  const own = [...entrypoint, ...(config?.cmd ?? [])]
  return { ...launch, argv: own.length === 0 ? [SHELL] : own }
}
