// SPDX-License-Identifier: Apache-2.0
/** The one door to the test library: `suite(name)` gives `test(promise, fn)`; a skip names what is missing. */
import { suite as uvuSuite } from 'uvu'

type Body = () => void | Promise<void>

export interface Suite {
  (promise: string, body: Body): void
  /** Runs the test only when `missing` is empty; otherwise it is counted and printed as skipped, with the reason. */
  needs(missing: string | undefined, promise: string, body: Body): void
  before(body: Body): void
  after(body: Body): void
  run(): void
}

/** What a test file wrote about itself, read by run.ts from the last lines of its stdout. */
export const SKIP_MARK = '[skipped] '

export function suite(name: string): Suite {
  const inner = uvuSuite(name)
  const test = (promise: string, body: Body): void => {
    inner(promise, async () => {
      await body()
    })
  }
  return Object.assign(test, {
    needs(missing: string | undefined, promise: string, body: Body) {
      if (missing === undefined || missing === '') test(promise, body)
      else process.stdout.write(`${SKIP_MARK}${name}: ${promise} (${missing})\n`)
    },
    before: (body: Body) => inner.before(async () => void (await body())),
    after: (body: Body) => inner.after(async () => void (await body())),
    run: () => inner.run(),
  })
}
