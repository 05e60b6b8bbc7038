// SPDX-License-Identifier: Apache-2.0
/**
 * A site's own importer (pyxis' interface: `PROGRAM get URI`, `PROGRAM release`) in place of the store's: run as the
 * user, and the file it names is opened as the user's, so it may do nothing that the user could not.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import type { ImageReference } from '../image/image.js'
import { parseReference } from '../image/reference.js'
import { native } from '../native.js'
import { BerthError } from '../report/errors.js'
import type { Site } from '../site/site.js'
import type { Undo } from './undo.js'

/** For whom, and in which step. */
export interface ImporterUser {
  uid: number
  gid: number
  gids: readonly number[]
  job: number
  step: number
  env: Readonly<Record<string, string>>
}

interface Turn {
  signal: AbortSignal
  undo: Undo
}

/** node:child_process sets uid and gid and drops all groups; named whole, since PATH is the user's. */
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv']
/** What importers of pyxis read. Nothing that the loader or setpriv heeds may ever be in it: that runs as root first. */
const ENVIRONMENT =
  /^(SLURM_|SLURMD_|PYXIS_|ENROOT_|XDG_|HOME$|USER$|PATH$|TMPDIR$|REGISTRY_AUTH_FILE$|DOCKER_CONFIG$)/
/** Importers are written for this version of the interface. */
const PYXIS_VERSION = '0.24.0'
const PATH_DEFAULT = '/usr/local/bin:/usr/bin:/bin'
/** A path, and what an importer says before it; stderr is shown by its end only. */
const STDOUT_BYTES_MAX = 64 << 10
const STDERR_BYTES_KEPT = 8 << 10
/** Between the request to end and the end that nobody can refuse. */
const KILL_WAIT_MS = 5000
/** What is in the pipes when the program has ended is read at once; somebody it left behind may hold them for ever. */
const DRAIN_MS_MAX = 1000
/** Removing a file. The step's end waits for it. */
const RELEASE_MS_MAX = 60_000

/**
 * The image as a file; undefined where the site names no importer or the image comes from no registry.
 * @throws BerthError BERTH_ESITEIMPORTER; the signal ends the program
 */
export async function importBySite(
  site: Pick<Site, 'get' | 'origin'>,
  reference: ImageReference,
  image: string,
  user: ImporterUser,
  turn: Turn,
): Promise<ImageReference | undefined> {
  const program = site.get('importer')
  if (program === '' || reference.source.kind !== 'registry') return undefined
  const problem = (text: string): BerthError =>
    new BerthError('BERTH_ESITEIMPORTER', { image, program, problem: text, origin: site.origin('importer') })
  if (!isAbsolute(program)) throw problem('is named by no absolute path')
  const env = environmentOf(user, runtimeOf(site, user))
  turn.undo.add('image of the importer', async () => {
    await run([program, 'release'], user, env, AbortSignal.timeout(RELEASE_MS_MAX))
  })
  const uri = /^[a-z]+:\/\//i.test(image) ? image : `docker://${image}`
  const { status, stdout, stderr } = await run([program, 'get', uri], user, env, turn.signal)
  if (turn.signal.aborted) throw new BerthError('BERTH_ECANCELED', { image })
  if (status !== 0) throw problem(`ended with ${status}${lastLines(stderr)}`)
  const path = stdout.trim().split('\n').at(-1) ?? ''
  if (!isAbsolute(path)) throw problem('printed no absolute path')
  return parseReference(path)
}

/** Where importers keep their files: pyxis makes runtime_path/UID for them. */
function runtimeOf(site: Pick<Site, 'get'>, { uid, gid }: ImporterUser): string {
  const folder = join(site.get('runtime_dir'), 'importer')
  const own = join(folder, String(uid))
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  if (existsSync(own)) return folder
  mkdirSync(own, { mode: 0o700 })
  chmodSync(own, 0o700)
  chownSync(own, uid, gid)
  return folder
}

function environmentOf(user: ImporterUser, runtime: string): Record<string, string> {
  const kept = Object.entries(user.env).filter(([name]) => ENVIRONMENT.test(name))
  return {
    PATH: PATH_DEFAULT,
    ...Object.fromEntries(kept),
    PYXIS_RUNTIME_PATH: runtime,
    PYXIS_VERSION,
    SLURM_JOB_UID: String(user.uid),
    SLURM_JOB_ID: String(user.job),
    SLURM_STEP_ID: String(user.step),
  }
}

interface Ended {
  /** "exit status 1", "signal SIGTERM", or 0. */
  status: 0 | string
  stdout: string
  stderr: string
}

async function run(
  words: readonly string[],
  { uid, gid, gids }: ImporterUser,
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<Ended> {
  const setpriv = SETPRIV.find((path) => existsSync(path))
  if (setpriv === undefined) return { status: 'no setpriv on this node', stdout: '', stderr: '' }
  const groups = gids.length === 0 ? '--clear-groups' : `--groups=${gids.join(',')}`
  const become = [`--reuid=${uid}`, `--regid=${gid}`, groups, '--inh-caps=-all', '--no-new-privs', '--']
  const child = native.withoutForks(() =>
    spawn(setpriv, [...become, ...words], {
      ...{ cwd: '/', env, detached: true },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )
  const ended: Ended = { status: 0, stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ended.stdout = (ended.stdout + text).slice(-STDOUT_BYTES_MAX)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ended.stderr = (ended.stderr + text).slice(-STDERR_BYTES_KEPT)
  })
  const stop = () => endGroup(child)
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop, { once: true })
  child.on('exit', () => {
    // From here on its number may be another process group's.
    signal.removeEventListener('abort', stop)
    setTimeout(() => {
      child.stdout.destroy()
      child.stderr.destroy()
    }, DRAIN_MS_MAX).unref()
  })
  ended.status = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, by) =>
      resolve(code === 0 ? 0 : by === null ? `exit status ${code}` : `signal ${by}`),
    )
  })
  return ended
}

/** The program and what it started: it leads a process group of its own. */
function endGroup(child: ChildProcess): void {
  const { pid } = child
  if (pid === undefined) return
  const send = (name: NodeJS.Signals): void => {
    try {
      process.kill(-pid, name)
    } catch {
      // All of the group have ended.
    }
  }
  send('SIGTERM')
  const timer = setTimeout(() => send('SIGKILL'), KILL_WAIT_MS)
  child.on('exit', () => {
    clearTimeout(timer)
    // What it leaves behind, while the group's number is still theirs.
    send('SIGKILL')
  })
}

function lastLines(stderr: string): string {
  const lines = stderr.trim().split('\n').slice(-3).join('; ')
  return lines === '' ? '' : `: ${lines}`
}
