// SPDX-License-Identifier: Apache-2.0
/** Keeps secrets out of logs and messages: tokens in headers, passwords in URLs, signed query strings. */

const MASK = '***'
const SECRET_NAMES =
  'password|passwd|secret|token|authorization|cookie|credential|apikey|api_key|signature|sig'
const SECRET_KEY = new RegExp(SECRET_NAMES, 'i')
/** Each repeat is bounded: texts are users' own, and an unbounded one would take time by the square of their length. */
/** scheme://user:password@host */
const URL_USER = /(\b[a-z][a-z0-9+.-]{0,31}:\/\/)[^\s/@]{1,8192}@/gi
/** Authorization: Basic …, Bearer … anywhere in a text. */
const SCHEME = /\b(basic|bearer)\s+[\w+/=._~-]{6,}/gi
/** ?X-Amz-Signature=…, &token=…, password=… ; also JSON's "token": "…" */
const ASSIGNMENT = new RegExp(
  `([\\w-]{0,64}(?:${SECRET_NAMES})[\\w-]{0,64}"?\\s{0,8}[=:]\\s{0,8}"?)[^\\s&"',;]+`,
  'gi',
)

export function redact(text: string): string {
  return text
    .replace(SCHEME, `$1 ${MASK}`)
    .replace(URL_USER, `$1${MASK}@`)
    .replace(ASSIGNMENT, (whole, before: string) => (/(basic|bearer)$/i.test(whole) ? whole : before + MASK))
}

/** True for a field whose value is never shown, whatever it looks like. */
export function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key)
}

export const REDACTED = MASK
