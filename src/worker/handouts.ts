// SPDX-License-Identifier: Apache-2.0
/**
 * Images of the store for programs beside berth (`berth importer`, stock pyxis): a file that the asking user may read
 * and nobody else can change. docs/decisions/0012-importer-handout.md says why it is made this way.
 *
 *   store/handed/UID/JOB.STEP.PID.START.sqsh     PID and START: of the slurmstepd whose end gives it back, or 0.0
 */
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { native } from '../native.js'
import { BerthError, codeOf, messageOf } from '../report/errors.js'
import type { Worker } from './worker.js'

interface Claim {
  uid: number
  gid: number
  job: string
  step: string
  /** The asking process: the slurmstepd above it owns the claim. */
  pid: number
}

interface Handout {
  size: number
  /** Everybody may have the image: nobody needs to own the file. */
  open: boolean
  /** Fills an empty file; the other descriptor is of an empty directory. */
  write(out: number, empty: number): Promise<void>
}

interface Owner {
  pid: number
  start: number
}

/** Each may be a copy as large as an image; a node runs fewer steps of one user at a time. */
const HANDOUTS_PER_USER_MAX = 256
/** Nobody's end gives back what was asked for by hand; a job is over after this time at most sites. */
const UNOWNED_MS_MAX = 24 * 60 * 60 * 1000
/** The store's own folders are root's alone, so that its top may be passed through. */
const PASSED_MODE = 0o711
const SHARED_MODE = 0o444
const PRIVATE_MODE = 0o400
/** What nothing was changed in, for the saver; among the folders of users, whose names are numbers. */
const EMPTY = 'empty'
const EMPTY_MODE = 0o755
const ANCESTORS_MAX = 16
const NAME = /^(\d{1,10})\.([\w-]{1,20})\.(\d{1,10})\.(\d{1,20})\.sqsh$/
const JOB = /^\d{1,10}$/
const STEP = /^[\w-]{1,20}$/

/** One object per worker: it knows which files are being written. */
const known = new WeakMap<Worker, Handouts>()

/** The worker's; what ended steps left behind is given back when it is asked for first, at the worker's start. */
export function handoutsOf(worker: Worker): Handouts {
  const found = known.get(worker) ?? new Handouts(worker.site.get('store'), worker.log)
  if (!known.has(worker)) found.sweep(true)
  known.set(worker, found)
  return found
}

export class Handouts {
  private readonly folder: string
  /** Names that are being written; no sweep takes them. */
  private readonly unfinished = new Set<string>()
  /** By path; one descriptor each. */
  private readonly watches = new Map<string, ReturnType<typeof native.watchProcess>>()

  constructor(
    private readonly store: string,
    private readonly log: (line: string) => void,
  ) {
    this.folder = join(store, 'handed')
  }

  /** @returns the path @throws BerthError BERTH_EHANDOUTS, BERTH_ESPACE */
  async give(handout: Handout, claim: Claim): Promise<string> {
    checkClaim(claim)
    this.sweep()
    this.release(claim)
    if (this.names(claim.uid).length >= HANDOUTS_PER_USER_MAX)
      throw new BerthError('BERTH_EHANDOUTS', { uid: claim.uid, count: HANDOUTS_PER_USER_MAX })
    const folder = this.prepare(claim.uid)
    const owner = findOwner(claim.pid)
    const path = join(folder, `${claim.job}.${claim.step}.${owner.pid}.${owner.start}.sqsh`)
    const temporary = `${path}.${randomBytes(4).toString('hex')}`
    this.unfinished.add(temporary)
    try {
      await this.write(temporary, handout, claim)
      renameSync(temporary, path)
    } catch (error) {
      rmSync(temporary, { force: true })
      throw explain(error, handout, folder)
    } finally {
      this.unfinished.delete(temporary)
    }
    this.watch(path, owner)
    return path
  }

  private async write(path: string, { open, write }: Handout, { uid, gid }: Claim): Promise<void> {
    const directory = join(this.folder, EMPTY)
    mkdirSync(directory, { recursive: true })
    chmodSync(directory, EMPTY_MODE)
    const empty = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
    const out = openSync(path, 'wx+', PRIVATE_MODE)
    try {
      await write(out, empty)
      if (!open) fchownSync(out, uid, gid)
      fchmodSync(out, open ? SHARED_MODE : PRIVATE_MODE)
    } finally {
      closeSync(out)
      closeSync(empty)
    }
  }

  /** Gives back what this step of this user has; as often as anybody likes. */
  release({ uid, job, step }: Pick<Claim, 'uid' | 'job' | 'step'>): number {
    const mine = this.names(uid).filter((name) => {
      const [, ofJob, ofStep] = NAME.exec(name) ?? []
      return ofJob === job && ofStep === step
    })
    for (const name of mine) this.drop(join(this.folder, String(uid), name))
    return mine.length
  }

  /** Gives back what has no owner any more, and watches the owners of the rest. */
  sweep(watch = false): void {
    for (const uid of list(this.folder)) {
      for (const name of list(join(this.folder, uid))) {
        const path = join(this.folder, uid, name)
        const owner = ownerOf(name)
        if (this.unfinished.has(path)) continue
        if (owner === undefined || !isOwned(path, owner)) this.drop(path)
        else if (watch) this.watch(path, owner)
      }
    }
  }

  private names(uid: number): string[] {
    return list(join(this.folder, String(uid)))
  }

  private prepare(uid: number): string {
    const folder = join(this.folder, String(uid))
    mkdirSync(folder, { recursive: true })
    for (const passed of [this.store, this.folder, folder]) chmodSync(passed, PASSED_MODE)
    return folder
  }

  private watch(path: string, owner: Owner): void {
    if (owner.pid === 0 || this.watches.has(path)) return
    try {
      const watch = native.watchProcess(owner.pid, () => {
        this.log(`step of ${path} has ended, given back`)
        this.drop(path)
      })
      watch.unref()
      this.watches.set(path, watch)
    } catch (error) {
      // It has ended just now: the next sweep gives it back.
      this.log(`step of ${path} is not watched: ${messageOf(error)}`)
    }
  }

  private drop(path: string): void {
    this.watches.get(path)?.close()
    this.watches.delete(path)
    try {
      rmSync(path, { force: true })
    } catch (error) {
      // Nobody waits for it; the next sweep tries again.
      this.log(`cannot give back ${path}: ${messageOf(error)}`)
    }
  }
}

/** @throws BerthError BERTH_EJOB */
function checkClaim({ job, step }: Claim): void {
  if (JOB.test(job) && STEP.test(step)) return
  throw new BerthError('BERTH_EJOB', { job, step })
}

function explain(error: unknown, { size }: Pick<Handout, 'size'>, folder: string): unknown {
  if (codeOf(error) !== 'ENOSPC') return error
  return new BerthError('BERTH_ESPACE', { path: folder, bytes: size }, { cause: error })
}

/** The slurmstepd above the asking process: pyxis runs its importer below it, maybe through a site's script. */
function findOwner(pid: number): Owner {
  let at = pid
  for (let depth = 0; depth < ANCESTORS_MAX && at > 1; depth++) {
    const status = readStatus(at)
    if (status.name === 'slurmstepd') return { pid: at, start: native.processStart(at) }
    at = status.parent
  }
  return { pid: 0, start: 0 }
}

/** proc(5): status; an ended process has none. */
function readStatus(pid: number): { name: string; parent: number } {
  try {
    const text = readFileSync(`/proc/${pid}/status`, 'utf8')
    const parent = Number(/^PPid:\t(\d+)$/m.exec(text)?.[1] ?? 0)
    return { name: /^Name:\t(.*)$/m.exec(text)?.[1] ?? '', parent }
  } catch {
    return { name: '', parent: 0 }
  }
}

function ownerOf(name: string): Owner | undefined {
  const [, , , pid, start] = NAME.exec(name) ?? []
  return pid === undefined ? undefined : { pid: Number(pid), start: Number(start) }
}

function isOwned(path: string, { pid, start }: Owner): boolean {
  if (pid !== 0) return native.processStart(pid) === start
  const stat = lstatSync(path, { throwIfNoEntry: false })
  // The time of the link: the content is as old as the image.
  return stat !== undefined && Date.now() - stat.ctimeMs < UNOWNED_MS_MAX
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
