// SPDX-License-Identifier: Apache-2.0
/**
 * One file per step in runtime_dir/steps, so that a worker started after a crash knows what still runs. Written to a
 * temporary name and renamed: a lease is whole or absent. Removed when the step ends; nothing else is persistent.
 */
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../report/errors.js'
import type { EndHooks } from '../step.js'
import type { StepFacts } from './facts.js'
import { LEASE_BYTES_MAX } from './limits.js'

export interface LeaseTask {
  pid: number
  /** Start time in clock ticks: tells a reused pid. */
  start: number
  localId: number
  globalId: number
}

export interface LeasePlace {
  cwd: string
  /** Inode numbers of the job's namespaces that are not the worker's. */
  ids: Record<string, string>
}

export interface Lease {
  version: 1
  facts: StepFacts
  /** The process whose end releases the step: slurmstepd, or the `berth run` command. */
  owner: { pid: number; start: number }
  tasks: LeaseTask[]
  /** Where the first task said it lives. */
  place?: LeasePlace
  /** Set once the image is in the store: what a later task must get, even if the tag moved. */
  image?: { key: string; digest: string }
  /** Inode numbers of the namespaces, to find them again in /proc/PID/ns of a task. */
  namespaces?: Record<string, string>
  /** They are of a container that another step started. */
  joined?: true
  /** Of the container that this step started. */
  endHooks?: EndHooks
  /** The site's importer was asked for it, and is to hear of its end. */
  importerAsked?: true
}

const SUFFIX = '.json'
const HANDLE = /^[0-9a-f]{32}$/

export class Leases {
  private readonly directory: string
  private failing = false

  constructor(
    runtimeDir: string,
    private readonly log: (line: string) => void = () => undefined,
  ) {
    this.directory = join(runtimeDir, 'steps')
    mkdirSync(this.directory, { recursive: true, mode: 0o700 })
  }

  /** On a full disk the step goes on without: only a worker that is started meanwhile would not know of it. */
  write(lease: Lease): void {
    const path = this.path(lease.facts.handle)
    try {
      writeFileSync(`${path}.new`, JSON.stringify(lease), { mode: 0o600 })
      renameSync(`${path}.new`, path)
      this.failing = false
    } catch (error) {
      this.drop(`${path}.new`)
      if (!this.failing) this.log(`cannot keep leases of steps in ${this.directory}: ${messageOf(error)}`)
      this.failing = true
    }
  }

  /** Where the disk refuses that, the next worker finds out that the step has ended. */
  remove(handle: string): void {
    this.drop(this.path(handle))
  }

  /** Leases of an earlier worker; what cannot be read is removed and named in `broken`. */
  readAll(): { leases: Lease[]; broken: string[] } {
    const leases: Lease[] = []
    const broken: string[] = []
    for (const name of readdirSync(this.directory)) {
      const lease = this.read(name)
      if (lease !== undefined) {
        leases.push(lease)
        continue
      }
      broken.push(name)
      this.drop(join(this.directory, name))
    }
    return { leases, broken }
  }

  private read(name: string): Lease | undefined {
    const handle = name.slice(0, -SUFFIX.length)
    if (!name.endsWith(SUFFIX) || !HANDLE.test(handle)) return undefined
    try {
      const fd = openSync(join(this.directory, name), 'r')
      try {
        if (fstatSync(fd).size > LEASE_BYTES_MAX) return undefined
        const lease = JSON.parse(readFileSync(fd, 'utf8')) as Lease
        return lease.version === 1 && lease.facts.handle === handle ? lease : undefined
      } finally {
        closeSync(fd)
      }
    } catch {
      return undefined
    }
  }

  /** Never throws: one file that stays is no reason to end the worker of all users. */
  private drop(path: string): void {
    try {
      rmSync(path, { force: true })
    } catch (error) {
      this.log(`cannot remove ${path}: ${messageOf(error)}`)
    }
  }

  private path(handle: string): string {
    return join(this.directory, `${handle}${SUFFIX}`)
  }
}
