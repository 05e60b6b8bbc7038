// SPDX-License-Identifier: Apache-2.0
/** WWW-Authenticate of RFC 9110 §11: several headers, several challenges in one, quoted or bare values; pure. */

export interface Challenge {
  /** Lower case: basic, bearer, negotiate. */
  scheme: string
  /** Keys in lower case. */
  params: Map<string, string>
}

/** Beyond this nobody describes a realm; it keeps a hostile header from costing time. */
const HEADER_CHARS_MAX = 16_384

export function parseChallenges(headers: readonly string[]): Challenge[] {
  return headers.flatMap((header) => parseHeader(header.slice(0, HEADER_CHARS_MAX)))
}

/** Bearer before Basic: a registry that offers both wants the token; Negotiate and the rest cannot be answered. */
export function pickChallenge(challenges: readonly Challenge[]): Challenge | undefined {
  const bearer = challenges.find(({ scheme, params }) => scheme === 'bearer' && params.has('realm'))
  return bearer ?? challenges.find(({ scheme }) => scheme === 'basic')
}

function parseHeader(header: string): Challenge[] {
  const challenges: Challenge[] = []
  const token = /[^\s,="]+/y
  const separator = /[\s,="]*/y
  const value = /\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^\s,"]*))/y
  let at = 0
  while (at < header.length) {
    separator.lastIndex = at
    separator.exec(header)
    token.lastIndex = separator.lastIndex
    const word = token.exec(header)?.[0]
    if (word === undefined) break
    value.lastIndex = token.lastIndex
    const assigned = value.exec(header)
    if (assigned === null) {
      challenges.push({ scheme: word.toLowerCase(), params: new Map() })
      at = token.lastIndex
      continue
    }
    const text = assigned[1]?.replace(/\\(.)/g, '$1') ?? assigned[2] ?? ''
    challenges.at(-1)?.params.set(word.toLowerCase(), text)
    at = value.lastIndex
  }
  return challenges
}
