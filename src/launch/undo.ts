// SPDX-License-Identifier: Apache-2.0
/** What a step has taken and must give back, in reverse order, whatever ended it. */
import { messageOf } from '../report/errors.js'

export class Undo {
  private readonly entries: { what: string; run: () => void | Promise<void> }[] = []
  private done = false

  constructor(private readonly log: (line: string) => void) {}

  /** Registers the way back; if the step has ended meanwhile it is taken at once. */
  add(what: string, run: () => void | Promise<void>): void {
    if (this.done) void this.attempt(what, run)
    else this.entries.push({ what, run })
  }

  /** Something of several parts, which may be given back before the rest. */
  part(what: string): Undo {
    const part = new Undo(this.log)
    this.add(what, () => part.run())
    return part
  }

  /** One failing entry never keeps the others from running; it is logged. */
  async run(): Promise<void> {
    this.done = true
    for (const entry of this.entries.splice(0).reverse()) await this.attempt(entry.what, entry.run)
  }

  private async attempt(what: string, run: () => void | Promise<void>): Promise<void> {
    try {
      await run()
    } catch (error) {
      this.log(`undo of ${what} failed: ${messageOf(error)}`)
    }
  }
}
