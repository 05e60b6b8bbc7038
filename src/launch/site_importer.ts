// SPDX-License-Identifier: Apache-2.0
/**
 * A site's own importer (pyxis' interface: `PROGRAM get URI`, `PROGRAM release`) in place of the store's: run as the
 * user, and the file it names is opened as the user's, so it may do nothing that the user could not.
 */
import { chmodSync, chownSync, mkdirSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import type { ImageReference } from '../image/image.js'
import { parseReference } from '../image/reference.js'
import { BerthError } from '../report/errors.js'
import type { Site } from '../site/site.js'
import { lastLines, runAsUser } from './run_as_user.js'
import type { ProgramUser } from './tend.js'
import type { Undo } from './undo.js'

/** For whom, and in which step. */
interface ImporterUser extends ProgramUser {
  job: number
  step: number
  env: Readonly<Record<string, string>>
}

interface Turn {
  signal: AbortSignal
  undo: Undo
  /** From now on its release is owed. */
  importerAsked?(): void
}

/** What importers of pyxis read. */
const ENVIRONMENT =
  /^(SLURM_|SLURMD_|PYXIS_|ENROOT_|XDG_|HOME$|USER$|PATH$|TMPDIR$|REGISTRY_AUTH_FILE$|DOCKER_CONFIG$)/
/** Importers are written for this version of the interface. */
const PYXIS_VERSION = '0.24.0'
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
  turn.importerAsked?.()
  turn.undo.add('image of the importer', () => release(program, user, env))
  const uri = /^[a-z]+:\/\//i.test(image) ? image : `docker://${image}`
  const { status, stdout, stderr } = await runAsUser([program, 'get', uri], user, env, turn.signal)
  if (turn.signal.aborted) throw new BerthError('BERTH_ECANCELED', { image })
  if (status !== 0) throw problem(`ended with ${status}${lastLines(stderr)}`)
  const path = stdout.trim().split('\n').at(-1) ?? ''
  if (!isAbsolute(path)) throw problem('printed no absolute path')
  return parseReference(path)
}

/** For a step whose worker has died since it asked: nobody else will. @throws the file system's error */
export async function releaseBySite(site: Pick<Site, 'get'>, user: ImporterUser): Promise<void> {
  const program = site.get('importer')
  if (isAbsolute(program)) await release(program, user, environmentOf(user, runtimeOf(site, user)))
}

async function release(program: string, user: ImporterUser, env: Record<string, string>): Promise<void> {
  await runAsUser([program, 'release'], user, env, AbortSignal.timeout(RELEASE_MS_MAX))
}

/** Where importers keep their files: pyxis makes runtime_path/UID for them. */
function runtimeOf(site: Pick<Site, 'get'>, { uid, gid }: ImporterUser): string {
  const folder = join(site.get('runtime_dir'), 'importer')
  const own = join(folder, String(uid))
  // One that is there may be half-made: by a worker that died on the way.
  mkdirSync(folder, { recursive: true, mode: 0o755 })
  mkdirSync(own, { recursive: true, mode: 0o700 })
  chmodSync(own, 0o700)
  chownSync(own, uid, gid)
  return folder
}

function environmentOf(user: ImporterUser, runtime: string): Record<string, string> {
  const kept = Object.entries(user.env).filter(([name]) => ENVIRONMENT.test(name))
  return {
    ...Object.fromEntries(kept),
    PYXIS_RUNTIME_PATH: runtime,
    PYXIS_VERSION,
    SLURM_JOB_UID: String(user.uid),
    SLURM_JOB_ID: String(user.job),
    SLURM_STEP_ID: String(user.step),
  }
}
