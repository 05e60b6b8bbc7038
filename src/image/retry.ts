// SPDX-License-Identifier: Apache-2.0
/** When to ask a registry again, and how long to wait before. */

export interface RetryPolicy {
  /** Attempts in all. */
  tries: number
  /** First wait; doubles, with full jitter. */
  wait_ms_min: number
  wait_ms_max: number
  /** A registry that asks for more patience than this is reported instead: an hour's sleep helps nobody's job. */
  retry_after_ms_max: number
  /** Silence of a peer in the middle of an answer; there is no limit on the whole. */
  silence_ms_max: number
  /** One that took the question and said nothing so often is not asked again. */
  silences_max: number
}

/** About 15 s of patience, beside the time that a registry takes to answer: a registry's restart is bridged, a dead one is reported while the user still looks. */
export const RETRY: RetryPolicy = {
  tries: 5,
  wait_ms_min: 500,
  wait_ms_max: 10_000,
  retry_after_ms_max: 60_000,
  silence_ms_max: 60_000,
  silences_max: 2,
}

/** 499 and 522 come from proxies in front of registries. */
const STATUS_RETRIED = new Set([408, 429, 499, 500, 502, 503, 504, 522])

const CODE_RETRIED = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'UND_ERR_SOCKET',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'HPE_INVALID_EOF_STATE',
])

export function isRetriedStatus(status: number): boolean {
  return STATUS_RETRIED.has(status)
}

export function isRetriedError(error: unknown): boolean {
  return (
    CODE_RETRIED.has(errorCode(error)) || CODE_RETRIED.has(errorCode((error as Error | undefined)?.cause))
  )
}

/** It took the connection, and then said nothing. */
export function isSilence(error: unknown): boolean {
  return errorCode(error) === 'UND_ERR_HEADERS_TIMEOUT'
}

export function errorCode(error: unknown): string {
  if (typeof error !== 'object' || error === null || !('code' in error)) return ''
  return String(error.code)
}

/** Full jitter, so that a thousand nodes that were refused together do not come back together. */
export function waitBefore(attempt: number, policy: RetryPolicy, random: () => number = Math.random): number {
  return random() * Math.min(policy.wait_ms_max, policy.wait_ms_min * 2 ** attempt)
}

/** Milliseconds of a Retry-After header: seconds or an HTTP date (RFC 9110 §10.2.3); undefined when absent or odd. */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}
