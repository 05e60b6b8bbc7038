// SPDX-License-Identifier: Apache-2.0
/**
 * What the signer of a SIF states (the sif library, pkg/integrity, metadata version 1): digests of the header, and of
 * descriptor and content of each object of a group, which are numbered from its lowest.
 */
import { createHash } from 'node:crypto'
import { isObject } from './manifest.js'
import { type Slice, streamSlice } from './slice.js'

export interface Digest {
  algorithm: string
  hex: string
}

interface StatedObject {
  relativeId: number
  descriptor: Digest
  content: Digest
}

interface Statement {
  header: Digest
  objects: StatedObject[]
}

const VERSION = 1
/** Those that signers use; `sha256` unless somebody asks for another. */
const DIGEST = /^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/

/** Undefined: it is none. */
export function parseStatement(text: string): Statement | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isObject(json) || json.version !== VERSION || !isObject(json.header)) return undefined
  const header = parseDigest(json.header.digest)
  const objects = Array.isArray(json.objects) ? json.objects.map(parseObject) : []
  if (header === undefined || objects.length === 0) return undefined
  const read = objects.filter((object) => object !== undefined)
  return read.length === objects.length ? { header, objects: read } : undefined
}

function parseObject(json: unknown): StatedObject | undefined {
  if (!isObject(json) || !Number.isSafeInteger(json.relativeId)) return undefined
  const descriptor = parseDigest(json.descriptorDigest)
  const content = parseDigest(json.objectDigest)
  if (descriptor === undefined || content === undefined) return undefined
  return { relativeId: json.relativeId as number, descriptor, content }
}

function parseDigest(text: unknown): Digest | undefined {
  if (typeof text !== 'string' || !DIGEST.test(text)) return undefined
  const [algorithm = '', hex = ''] = text.split(':')
  return { algorithm, hex }
}

/** Whether these bytes, one after the other, are the ones that were meant. */
export async function matches(
  { algorithm, hex }: Digest,
  parts: readonly (Buffer | Slice)[],
): Promise<boolean> {
  const hash = createHash(algorithm)
  for (const part of parts) {
    if (Buffer.isBuffer(part)) hash.update(part)
    else for await (const piece of streamSlice(part)) hash.update(piece)
  }
  return hash.digest('hex') === hex
}
