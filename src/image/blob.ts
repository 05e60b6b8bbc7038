// SPDX-License-Identifier: Apache-2.0
/** A blob as one stream, whatever the connections below do: broken ones are resumed by Range. */
import { setTimeout as sleep } from 'node:timers/promises'
import { headerText } from './body.js'
import { describeFailure, type Reply, unreachable } from './fetch.js'
import type { Descriptor } from './manifest.js'
import { broken } from './reader.js'
import { isRetriedError, type RetryPolicy, waitBefore } from './retry.js'

/** A connection that moved this much was worth it: the count of failures starts anew. */
const PROGRESS_BYTES_MIN = 1 << 20

type AskBlob = (headers: Record<string, string>) => Promise<Reply>

/**
 * Bytes of the blob in order, each once. A redirect's target is never kept, as signed addresses die within minutes:
 * each attempt asks the registry again through `ask`.
 */
export async function* streamBlob(
  ask: AskBlob,
  { digest, size }: Descriptor,
  policy: RetryPolicy,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let done = 0
  let failures = 0
  while (done < size) {
    const from = done
    const reply = await ask(from > 0 ? { range: `bytes=${from}-` } : {})
    let failure: unknown
    try {
      for await (const piece of rest(reply, { digest, size }, from)) {
        done += piece.length
        yield piece
      }
    } catch (error) {
      signal?.throwIfAborted()
      if (!isRetriedError(error)) throw error
      failure = error
    }
    if (done >= size) return
    failures = done - from >= PROGRESS_BYTES_MIN ? 1 : failures + 1
    if (failures >= policy.tries) {
      const reason = failure === undefined ? 'it ends answers early' : describeFailure(failure)
      throw broken(digest, `ends after ${done} of ${size} bytes (${reply.url.host}: ${reason})`, failure)
    }
    await sleep(waitBefore(failures, policy), undefined, { signal })
  }
}

/** What follows byte `from`: a 206 as it is, a 200 without the part that is already there. */
async function* rest(reply: Reply, { digest, size }: Omit<Descriptor, 'mediaType'>, from: number) {
  let skip = 0
  if (reply.status === 206) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headerText(reply.headers['content-range']) ?? '')
    if (range === null || Number(range[1]) !== from || (range[2] !== '*' && Number(range[2]) !== size)) {
      reply.body.destroy()
      throw broken(digest, `${reply.url.host} resumes at another place than asked for`)
    }
  } else if (reply.status === 200) {
    skip = from
    const length = headerText(reply.headers['content-length'])
    if (length !== undefined && Number(length) !== size) {
      reply.body.destroy()
      throw broken(digest, `has ${length} bytes at ${reply.url.host}, but the manifest says ${size}`)
    }
  } else {
    await reply.body.dump()
    throw unreachable(reply.url, `it answers HTTP ${reply.status} for a layer`)
  }
  for await (const piece of reply.body as AsyncIterable<Uint8Array>) {
    const kept = skip > 0 ? piece.subarray(Math.min(skip, piece.length)) : piece
    skip -= piece.length - kept.length
    if (kept.length > 0) yield kept
  }
}
