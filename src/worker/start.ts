// SPDX-License-Identifier: Apache-2.0
/** From command line to listening worker, and its orderly end. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { BerthError, messageOf } from '../report/errors.js'
import { createLog } from '../report/log.js'
import { toBoundedFile } from '../report/log_file.js'
import { KEYS } from '../site/keys.js'
import { loadSite, type Site } from '../site/site.js'
import { openRooms, type Rooms } from '../step.js'
import { dispatch } from './dispatch.js'
import { handoutsOf } from './handouts.js'
import { Idle } from './idle.js'
import { Leases } from './leases.js'
import { ERRANDS_PER_USER_MAX } from './limits.js'
import { refuseAll } from './refusal.js'
import { isTaken, Server } from './server.js'
import { Steps } from './steps.js'
import { storyIn } from './story.js'
import { Turns } from './turns.js'
import type { Worker, WorkerOptions } from './worker.js'

/** What must be given back may hang on a dead file system; the process ends all the same. */
const STOP_WAIT_MS_MAX = 3000
/** As a shell says SIGTERM; the keeper (serve.c) and the systemd unit know it: the socket has to stay. */
const TOLD_STATUS = 143
/** Nothing is ever in it; users pass it only inside their own, unfinished namespace. */
const STAGING_MODE = 0o755

export async function startWorker(argv: readonly string[]): Promise<void> {
  const options = readOptions(argv)
  const site = loadSite({ ...withoutDefault(options.given), runtime_dir: options.runtimeDir })
  const {
    info: log,
    warn,
    error,
  } = createLog({
    level: site.get('log_level'),
    write: toBoundedFile(join(options.runtimeDir, 'worker.log')),
  })
  if (isTaken(options.runtimeDir)) {
    error(`worker ${process.pid} is not needed: another one listens in ${options.runtimeDir}`)
    process.exit(1)
  }
  for (const line of [...site.warnings, ...site.notes]) warn(`site: ${line}`)
  for (const { message } of site.errors) error(`site: ${message}`)
  for (const problem of site.profiles.problems) error(`site: profile: ${problem}`)

  const places = await openPlaces(site, options.runtimeDir, log)
  if (places instanceof BerthError) {
    error(places.message)
    return refuseAll(options, places, log)
  }
  const { rooms, leases } = places
  const story = storyIn(rooms)
  const idle = new Idle(site.get('idle_exit'), () => stop('idle'))
  const steps = new Steps({ story, leases, log }, idle)
  const worker: Worker = {
    options,
    site,
    rooms,
    story,
    steps,
    idle,
    errands: new Turns(ERRANDS_PER_USER_MAX),
    started: Date.now() / 1000,
    log,
  }
  steps.adopt()
  rooms.jobEnds.sweep()
  if (steps.list().length === 0)
    rooms.store.containers.emptyTrash().catch((reason: unknown) => error(messageOf(reason)))
  handoutsOf(worker)
  const server = new Server(worker, (from, frame, opens) => dispatch(worker, from, frame, opens))
  log(`worker ${process.pid} listens in ${options.runtimeDir}`)

  let stopping = false
  function stop(why: string): void {
    if (stopping) return
    stopping = true
    log(`worker ${process.pid} ends: ${why}`)
    // Steps go on, and their launchers come back: they cannot start a keeper.
    const status = idle.isBusy ? TOLD_STATUS : 0
    idle.stop()
    server.close()
    const done = () => process.exit(status)
    setTimeout(done, STOP_WAIT_MS_MAX).unref()
    steps.detach()
    rooms.store.close().then(done, done)
  }
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))
  // Terminals and log rotation send it; the keeper's log is append-only and needs no reopening.
  process.on('SIGHUP', () => undefined)
}

/** What the worker keeps on disk, or why it cannot: that is each step's to hear. */
async function openPlaces(
  site: Site,
  runtimeDir: string,
  log: (line: string) => void,
): Promise<{ rooms: Rooms; leases: Leases } | BerthError> {
  try {
    const staging = join(runtimeDir, 'staging')
    mkdirSync(staging, { recursive: true, mode: STAGING_MODE })
    const leases = new Leases(runtimeDir, log)
    return { leases, rooms: await openRooms(site, staging, log) }
  } catch (error) {
    if (error instanceof BerthError) return error
    const [place, key, problem] = [
      site.origin('runtime_dir'),
      'runtime_dir',
      `cannot be used: ${messageOf(error)}`,
    ]
    return new BerthError('BERTH_ESITE', { place, key, problem }, { cause: error })
  }
}

/** @throws Error on an argument that is no --KEY=VALUE */
function readOptions(argv: readonly string[]): WorkerOptions {
  const settings: Record<string, string> = {}
  for (const argument of argv) {
    const match = /^--([a-z][a-z_-]*)=(.*)$/s.exec(argument)
    if (match?.[1] === undefined) throw new Error(`not understood: ${argument}`)
    settings[match[1].replaceAll('-', '_')] = match[2] ?? ''
  }
  const { runtime_dir, ...given } = settings
  return { runtimeDir: runtime_dir ?? KEYS.runtime_dir.default, given }
}

/** The default file need not exist; one that somebody named must. */
function withoutDefault({ config, ...others }: Record<string, string>): Record<string, string> {
  return config === undefined || config === KEYS.config.default ? others : { ...others, config }
}
