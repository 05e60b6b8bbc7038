// SPDX-License-Identifier: Apache-2.0
/** Asserts a refusal by code and by the words users see. */
import assert from 'node:assert/strict'
import { BerthError, type ErrorCode } from '../../src/report/errors.js'

export function refuses(action: () => unknown, code: ErrorCode, text: string): void {
  assert.throws(action, (error: unknown) => {
    assert.ok(error instanceof BerthError, String(error))
    assert.equal(error.code, code)
    assert.ok(error.message.includes(text), `"${error.message}" should contain "${text}"`)
    return true
  })
}
