// SPDX-License-Identifier: Apache-2.0
/** Importers between two orders. */
import type { Native } from '../native.js'
import { type ImporterOptions, ImporterProcess } from './importer.js'

/** One that has resolved saves the import its start (0.1 to 0.3 s); kept longer it would only hold memory. */
const IDLE_MS_MAX = 30_000
const IDLE_MAX = 2

/** Idle importers, each of one user, so that no two users' secrets share a process. */
export class ImporterPool {
  private readonly idle = new Map<ImporterProcess, NodeJS.Timeout>()
  private readonly all = new Set<ImporterProcess>()

  constructor(
    private readonly native: Native,
    private readonly options: ImporterOptions,
  ) {}

  take(uid: number): ImporterProcess {
    const taken = [...this.idle.keys()].find((one) => one.alive && one.uid === uid) ?? this.start()
    clearTimeout(this.idle.get(taken))
    this.idle.delete(taken)
    taken.uid = uid
    return taken
  }

  give(process: ImporterProcess): void {
    if (!process.alive || process.spent || this.idle.size >= IDLE_MAX) return void process.end()
    const timer = setTimeout(() => this.drop(process), IDLE_MS_MAX)
    timer.unref()
    this.idle.set(process, timer)
  }

  async close(): Promise<void> {
    for (const timer of this.idle.values()) clearTimeout(timer)
    this.idle.clear()
    await Promise.all([...this.all].map((process) => process.end()))
  }

  private start(): ImporterProcess {
    const process = new ImporterProcess(this.native, this.options)
    this.all.add(process)
    void process.ended.then(() => {
      this.all.delete(process)
      clearTimeout(this.idle.get(process))
      this.idle.delete(process)
    })
    return process
  }

  private drop(process: ImporterProcess): void {
    this.idle.delete(process)
    void process.end()
  }
}
