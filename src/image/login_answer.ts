// SPDX-License-Identifier: Apache-2.0
/** What a user's own process answers about a registry, as JSON; the worker carries it and does not look inside. */
import { isObject } from './manifest.js'

export interface Credential {
  username: string
  password: string
  /** OAuth2 refresh token of `docker login` (ACR); used in place of the password. */
  identityToken?: string
  /** A bearer token that needs no exchange. */
  registryToken?: string
}

export interface LoginQuestion {
  host: string
  repository: string
  /** enroot's USER@. */
  user?: string | undefined
}

export interface LoginAnswer extends LoginQuestion {
  credential?: Credential
  /** What went wrong on the way, each with the program or file it is about. */
  problems: string[]
}

const PROBLEMS_MAX = 8

/** Undefined unless it is an answer. */
export function readAnswer(text: string): LoginAnswer | undefined {
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isObject(answer)) return undefined
  const { host, repository, credential, problems } = answer
  if (typeof host !== 'string' || typeof repository !== 'string') return undefined
  const told = Array.isArray(problems) ? problems.slice(0, PROBLEMS_MAX).map(String) : []
  return { host, repository, problems: told, ...(isCredential(credential) ? { credential } : {}) }
}

function isCredential(value: unknown): value is Credential {
  if (!isObject(value)) return false
  const { username, password, identityToken = '', registryToken = '' } = value
  return [username, password, identityToken, registryToken].every((text) => typeof text === 'string')
}
