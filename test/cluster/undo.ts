// SPDX-License-Identifier: Apache-2.0
/** What was started is ended in reverse order: at the end, after a failure, and on Ctrl-C. */

interface Step {
  name: string
  action: () => void | Promise<void>
}

export class Undo {
  private readonly steps: Step[] = []
  private running: Promise<void> | undefined

  push(name: string, action: Step['action']): void {
    this.steps.push({ name, action })
  }

  /** Runs once; a step that fails is reported and does not keep the others from running. */
  run(): Promise<void> {
    this.running ??= this.unwind()
    return this.running
  }

  private async unwind(): Promise<void> {
    for (const { name, action } of this.steps.reverse()) {
      try {
        await action()
      } catch (error) {
        process.stderr.write(`undo of ${name}: ${String(error)}\n`)
      }
    }
    live.delete(this)
  }
}

const live = new Set<Undo>()
let watching = false

/** A stack that is also unwound when this process is interrupted (exit 130) or an error escapes (exit 1). */
export function makeUndo(): Undo {
  const undo = new Undo()
  live.add(undo)
  if (!watching) {
    watching = true
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => void leave(signal === 'SIGINT' ? 130 : 143))
    }
    process.on('uncaughtException', (error) => {
      process.stderr.write(`${error.stack ?? String(error)}\n`)
      void leave(1)
    })
  }
  return undo
}

let leaving = false

/** Never resolves once this process is on its way out: nothing new may start while all is being ended. */
export function stillHere(): Promise<void> {
  return leaving ? new Promise(() => {}) : Promise.resolve()
}

async function leave(code: number): Promise<void> {
  leaving = true
  for (const undo of [...live].reverse()) await undo.run()
  process.exit(code)
}
