// SPDX-License-Identifier: Apache-2.0
/** The failure that a promise is expected to end with, for tests of what it says. */
import { BerthError } from '../src/report/errors.js'

/** @throws Error: it did not fail, or by no BerthError */
export async function failure(promise: Promise<unknown>): Promise<BerthError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (error instanceof BerthError) return error
  throw new Error(`no BerthError but ${error instanceof Error ? error.stack : error}`)
}
