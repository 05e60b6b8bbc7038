// SPDX-License-Identifier: Apache-2.0
/** What an engine is started with: paths in its view, environment, command lines; the same for a start and for --container-explain. */
import { dirname, join } from 'node:path'
import type { Engine, EngineStart, StartPlace } from '../engine/engine.js'
import type { NamespaceSpec } from '../native.js'
import type { ShownStart } from '../plan/explain.js'
import type { PlanUser } from '../plan/input.js'
import type { Plan } from '../plan/spec.js'

export interface EngineWish {
  engine: Engine
  start: EngineStart
  binary: string
  version: string
  user: PlanUser
  plan: Plan
  /** --container-engine-args */
  args: readonly string[]
  /** PATH of the engine and its helpers. */
  path: string
  /** The site's docker_socket. */
  socket: string
  /** Label of the step on this node. */
  label: string
}

/** Where a daemon of the host finds roots: in its own namespace, each only while its container is made. */
export function shownFolder(staging: string): string {
  return join(dirname(staging), 'shown')
}

export function enginePlace(
  { binary, version, plan, args, socket, start }: EngineWish,
  staging: string,
  { id, hold }: Pick<StartPlace, 'id' | 'hold'>,
): StartPlace {
  return {
    ...{ binary, version, plan, args, hold, socket, id },
    root: start.byDaemon === true ? join(shownFolder(staging), id) : join(staging, 'root'),
    work: join(staging, 'work'),
    run: join(staging, 'run'),
  }
}

export function engineEnvironment(
  { user, path, start }: EngineWish,
  place: StartPlace,
): Record<string, string> {
  return {
    PATH: path,
    HOME: user.home,
    USER: user.name,
    LOGNAME: user.name,
    LANG: 'C.UTF-8',
    XDG_RUNTIME_DIR: place.run,
    ...start.environment?.(place),
  }
}

/**
 * All that a start depends on: one that was made for the same may stand in for another. The plan's mounts come later
 * and are none of the engine's business.
 */
export function recipeOf(wish: EngineWish, spec: NamespaceSpec): string {
  const { mounts: _, ...around } = spec
  const place = enginePlace(wish, spec.staging, SHOWN)
  return JSON.stringify([around, shownStart(wish, spec.staging), wish.start.files?.(place)])
}

/** Names that each start makes anew: whoever knew them could stand in for the holder. */
const SHOWN = { id: 'ID', hold: ['/.berth-hold', 'NAME'] }

/** As it would be run, but for the names that each start makes anew. */
export function shownStart(wish: EngineWish, staging: string): ShownStart {
  const place = enginePlace(wish, staging, { ...SHOWN, id: `${wish.label}-${SHOWN.id}` })
  const { start, binary, version } = wish
  return {
    ...{ binary, version },
    runsAs: start.byDaemon === true ? 'root' : wish.user.name,
    before: start.before?.(place).map(({ command }) => command) ?? [],
    command: start.command(place),
    environment: engineEnvironment(wish, place),
    files: start.files?.(place).map(({ name }) => join(place.work, name)) ?? [],
    teardown: start.teardown?.(place) ?? [],
  }
}
