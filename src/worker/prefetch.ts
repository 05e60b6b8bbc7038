// SPDX-License-Identifier: Apache-2.0
/**
 * PREFETCH: the prolog says which image a job will want; the pull goes on in the background, its failure is only logged.
 * It is given up with the job's last step. One whose job has none yet goes to its end: nothing tells that a job has gone.
 */
import { native } from '../native.js'
import { BerthError, messageOf } from '../report/errors.js'
import type { Connection } from './connection.js'
import { keepEnvironment, readOptions, type StepFacts } from './facts.js'
import { type Frame, ProtocolError, Tag, Type } from './frame.js'
import type { Worker } from './worker.js'

export async function prefetch(worker: Worker, connection: Connection, frame: Frame): Promise<void> {
  const uid = frame.number(Tag.UID)
  if (uid === undefined) throw new ProtocolError('field UID is missing')
  const options = readOptions(frame)
  const env = keepEnvironment(frame.environment(), options)
  connection.send(Type.ACK)
  connection.end()
  const done = worker.idle.busy()
  const job = frame.number(Tag.JOB) ?? 0
  const gone = new AbortController()
  const forget = worker.steps.onJobGone(job, () => gone.abort(new Error(`job ${job} has ended`)))
  try {
    const user = await native.userByUid(uid)
    const facts: StepFacts = {
      handle: '',
      context: 'step',
      job,
      step: 0,
      restart: 0,
      uid,
      gid: user?.gid ?? uid,
      gids: [],
      node: 0,
      localTasks: 0,
      totalTasks: 0,
      options,
      env,
      cwd: frame.text(Tag.CWD) ?? '/',
    }
    const request = worker.story.parse(facts)
    if (request === undefined || request.explain || worker.site.get('importer') !== '') return
    await worker.story.pull(facts, { signal: gone.signal, progress: () => undefined })
  } catch (error) {
    // Logins that a program of the user's prints are only to be had where a process of the user's waits.
    const left = error instanceof BerthError && error.code === 'BERTH_EAUTH' ? ', left to the step' : ''
    worker.log(`prefetch failed${left}: ${messageOf(error)}`, { uid })
  } finally {
    forget()
    done()
  }
}
