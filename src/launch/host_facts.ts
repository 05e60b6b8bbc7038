// SPDX-License-Identifier: Apache-2.0
/** Facts about the node for plan/hookup.ts: gathered once, read again only where a file's times have changed. */
import { machine } from 'node:os'
import { native } from '../native.js'
import type { HostFacts } from '../plan/host.js'
import type { Site } from '../site/site.js'
import { stampOf } from './host_library.js'
import { gatherMpi, type WantedMpi } from './host_mpi.js'

/** Paths that were looked at; each may be missing. */
export type Looked = Set<string>

type GatherMpi = typeof gatherMpi

/** Facts of the node with the MPI installations of one list of directories. */
class Reading {
  private facts: Promise<HostFacts> | undefined
  private stamps = new Map<string, string>()

  constructor(
    private readonly wanted: WantedMpi,
    private readonly gatherMpi: GatherMpi,
  ) {}

  read(): Promise<HostFacts> {
    if (this.facts !== undefined && !this.hasChanged()) return this.facts
    const facts = this.gather()
    this.facts = facts
    // What failed once is tried again by the next step: a package was just being replaced.
    facts.catch(() => {
      if (this.facts === facts) this.facts = undefined
    })
    return facts
  }

  private hasChanged(): boolean {
    for (const [path, stamp] of this.stamps) if (stampOf(path) !== stamp) return true
    return false
  }

  private async gather(): Promise<HostFacts> {
    const looked: Looked = new Set()
    // Until all is known, what was asked for meanwhile waits for this reading.
    this.stamps = new Map()
    const { mpi, problems } = await this.gatherMpi(native, this.wanted, looked)
    this.stamps = new Map([...looked].map((path) => [path, stampOf(path)]))
    return { machine: machine(), mpi, problems }
  }
}

export class HostReader {
  /** By directories and families: as many as the site's profiles name. */
  private readonly readings = new Map<string, Reading>()

  constructor(
    private readonly site: Pick<Site, 'get' | 'origin'>,
    private readonly gather: GatherMpi = gatherMpi,
  ) {}

  /**
   * Runs before every step: an unchanged node costs a stat(2) for each file that was read.
   * @param profile what the step's profiles name in place of the site's mpi_host
   */
  read(profile?: WantedMpi): Promise<HostFacts> {
    const wanted = profile ?? { named: this.site.get('mpi_host'), origin: this.site.origin('mpi_host') }
    const key = JSON.stringify([wanted.named, wanted.families])
    const reading = this.readings.get(key) ?? new Reading(wanted, this.gather)
    this.readings.set(key, reading)
    return reading.read()
  }
}
