// SPDX-License-Identifier: Apache-2.0
/** Is there room for images, and does the worker answer, in this very version. */
import { access, constants, stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { BerthError } from '../report/errors.js'
import type { Site } from '../site/site.js'
import { filesystemName, mountsFromThere } from '../store/shared/policy.js'
import type { WorkerStatus } from '../worker/status.js'
import { callWorker } from './client.js'
import { showBytes } from './columns.js'
import type { Places } from './command.js'
import { unreadChange } from './config_age.js'
import type { Finding } from './doctor.js'
import { berthVersion } from './doctor_parts.js'
import { checkArguments } from './doctor_site.js'
import { socketOf } from './places.js'
import { ownLine } from './plugin_line.js'

/** One large image with its temporary copy. */
const FREE_BYTES_WANTED = 10 * 2 ** 30

export async function checkStore(site: Site): Promise<Finding[]> {
  const store = site.get('store')
  const there = await stat(store).catch(() => undefined)
  const place = there === undefined ? await firstAbove(store) : store
  const findings: Finding[] = []
  if (process.getuid?.() === 0) {
    const writable = await access(place, constants.W_OK).then(
      () => true,
      () => false,
    )
    const found = `${store}${there === undefined ? ' (made at first use)' : ''} (${site.origin('store')})`
    const fix = 'name another directory with store='
    findings.push(
      writable
        ? { check: 'store', state: 'ok', found }
        : {
            check: 'store',
            state: 'fail',
            found: `${place} cannot be written (${site.origin('store')})`,
            fix,
          },
    )
  }
  const space = await statfs(place).catch(() => undefined)
  if (space === undefined) return findings
  const free = space.bavail * space.bsize
  const found = `${showBytes(free)} free for ${store}`
  if (free >= FREE_BYTES_WANTED) findings.push({ check: 'store space', state: 'ok', found })
  else
    findings.push({
      check: 'store space',
      state: 'warn',
      found,
      fix: 'free space there, or name another store=',
    })
  return findings
}

/** The worker makes what is missing. */
async function firstAbove(path: string): Promise<string> {
  const above = dirname(path)
  return above === path || (await stat(above).catch(() => undefined)) !== undefined
    ? above
    : firstAbove(above)
}

/** Only where steps write there without asking. */
export async function checkStepDisk(site: Site): Promise<Finding[]> {
  if (site.get('container_writable_on') !== 'disk') return []
  const { stepDiskFailure } = await import('../launch/step_disk.js')
  const failure = stepDiskFailure(site)
  if (failure === undefined) return []
  const fix = 'install e2fsprogs, or set container_writable_on = memory'
  return [{ check: 'writable on disk', state: 'fail', found: failure.message, fix }]
}

/** Nothing where the site has none. */
export async function checkShared(site: Site): Promise<Finding[]> {
  const directory = site.get('shared_store')
  if (directory === '') return []
  // Only here: the other checks run where the addon cannot be loaded, and say so.
  const { sharedFailure } = await import('../launch/open_shared.js')
  const failure = await sharedFailure(site)
  if (failure !== undefined)
    return [{ check: 'shared store', state: 'fail', found: failure.message, fix: failure.hint }]
  const space = await statfs(directory).catch(() => undefined)
  const free = space === undefined ? 0 : space.bavail * space.bsize
  const name = filesystemName(space?.type ?? 0)
  const way = mountsFromThere(site.get('shared_use'), space?.type ?? 0, Infinity, 0) ? 'mounted' : 'copied'
  const found = `${directory} (${name}), ${showBytes(free)} free; images are ${way}`
  return [{ check: 'shared store', state: 'ok', found }]
}

/** @param known what the settings were found to say already */
export async function checkWorker(places: Places, known: readonly Finding[]): Promise<Finding[]> {
  try {
    const status = (await callWorker(places, 'status', [], [], false)) as WorkerStatus
    const mine = await berthVersion()
    const found = `pid ${status.pid}, ${showBytes(status.rss)} resident, ${status.steps} steps`
    const restart = `kill ${status.pid}: running steps go on, and the next step starts a new worker`
    const more = status.siteErrors.filter((problem) => !known.some((one) => one.found === problem))
    const problems = more.map(
      (problem): Finding => ({
        check: 'site',
        state: 'fail',
        found: problem,
        fix: `correct the line, then ${restart}`,
      }),
    )
    const unread = unreadChange(status)
    if (unread !== undefined) problems.push({ check: 'site', state: 'warn', ...unread })
    problems.push(...checkArguments(status, await ownLine(places.runtimeDir), places))
    if (status.version === mine) return [{ check: 'worker', state: 'ok', found }, ...problems]
    const fix = restart
    return [
      { check: 'worker', state: 'warn', found: `version ${status.version}, this is ${mine}`, fix },
      ...problems,
    ]
  } catch (error) {
    if (isNobodyThere(error)) {
      const found = 'none is running; the next step, or berth images as root, starts one'
      return [{ check: 'worker', state: 'ok', found }]
    }
    // The socket of a login node may be anything; that of a node is root's to reach.
    const state = process.getuid?.() === 0 ? 'fail' : 'warn'
    const fix = error instanceof BerthError ? error.hint : 'run it as root'
    const found = error instanceof BerthError ? error.message : `${socketOf(places)}: ${error}`
    return [{ check: 'worker', state, found, fix }]
  }
}

/** No socket, or none that anybody listens on: an idle node, where only asking would change what is looked at. */
function isNobodyThere(error: unknown): boolean {
  if (!(error instanceof BerthError) || error.code !== 'BERTH_ENOWORKER') return false
  const { cause } = error
  return cause instanceof Error && 'code' in cause && /^(ENOENT|ECONNREFUSED)$/.test(String(cause.code))
}
