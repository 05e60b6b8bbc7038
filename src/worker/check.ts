// SPDX-License-Identifier: Apache-2.0
/** CHECK: what srun, sbatch and salloc ask before a job is queued. Grammar and policy at once, the digest if it comes in time. */
import type { ErrorCode } from '../report/errors.js'
import { asBerthError, type Connection } from './connection.js'
import { factsOfPeer } from './facts.js'
import { type Frame, Tag, Type } from './frame.js'
import { PIN_WAIT_MS_MAX } from './limits.js'
import { loginOver } from './login.js'
import type { Worker } from './worker.js'

/** The registry's own word about this image: true on every node. Everything else may be this host's trouble only. */
const FINAL: readonly ErrorCode[] = [
  'BERTH_EAUTH',
  'BERTH_EIMAGENOTFOUND',
  'BERTH_EIMAGEREF',
  'BERTH_EMANIFEST',
  'BERTH_EPLATFORM',
]

export async function check(worker: Worker, connection: Connection, frame: Frame): Promise<void> {
  const facts = factsOfPeer(connection.peer, frame, frame.text(Tag.CONTEXT) ?? 'srun')
  const request = worker.story.parse(facts)
  connection.send(Type.ACK)
  if (request === undefined || request.image === '') {
    connection.send(Type.PIN)
    return connection.end()
  }
  const gone = new AbortController()
  connection.onClosed(() => gone.abort())
  const signal = AbortSignal.any([gone.signal, AbortSignal.timeout(PIN_WAIT_MS_MAX)])
  try {
    const pinned = await within(
      worker.errands.take(facts.uid, signal, () => worker.story.pin(facts, loginOver(connection))),
      signal,
    )
    connection.send(Type.PIN, pinned === undefined ? [] : [[Tag.OPTION, pinned]])
  } catch (error) {
    const known = asBerthError(error)
    if (FINAL.includes(known.code)) connection.fail(known)
    else connection.send(Type.PIN)
  }
  connection.end()
}

/** The answer, or the signal's reason when that is faster; a late answer still warms the store's memory. */
function within<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    answer.then(resolve, reject)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
