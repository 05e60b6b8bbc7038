// SPDX-License-Identifier: Apache-2.0
/** TASK: root announces a process that will become the launcher, with the namespaces the step must hang below. */
import { openSync } from 'node:fs'
import { native } from '../native.js'
import { BerthError } from '../report/errors.js'
import type { StepPlace } from '../step.js'
import type { Connection } from './connection.js'
import { readHandle } from './facts.js'
import { type Frame, Tag, Type } from './frame.js'
import type { Worker } from './worker.js'

/** mount and user namespace, in this order; none when they are the worker's own. */
const FD_ROLES = ['mnt', 'user'] as const

export async function task(worker: Worker, connection: Connection, frame: Frame): Promise<void> {
  const place = takePlace(frame)
  // The kernel's word, not the sender's: a pid inside a job's pid namespace means nothing here.
  const pid = connection.peer.pid
  try {
    const step = await worker.steps.find(readHandle(frame.bytes(Tag.HANDLE)))
    const start = native.processStart(pid)
    if (step === undefined || start === 0) throw new BerthError('BERTH_ESTEP', { pid })
    const localId = frame.number(Tag.LOCAL_ID) ?? 0
    const globalId = frame.number(Tag.GLOBAL_ID) ?? localId
    if (!worker.steps.announce(step, { pid, start, localId, globalId }))
      throw new BerthError('BERTH_ETASKS', { step: step.name })
    connection.send(Type.ACK)
    if (step.explains) place.close()
    else void step.open(place).catch(() => undefined)
  } catch (error) {
    place.close()
    connection.fail(error)
  } finally {
    connection.end()
  }
}

/** Where a task that is not announced with descriptors lives: the worker's own namespaces. */
export function workerPlace(cwd: string): StepPlace {
  return { cwd, close: () => undefined }
}

function takePlace(frame: Frame): StepPlace {
  const fds = frame.fds.splice(0)
  const own = FD_ROLES.map((name) => namespaceIdOf(`/proc/self/ns/${name}`))
  const foreign = FD_ROLES.map((_, index) => {
    const fd = fds[index]
    return fd !== undefined && native.namespaceId(fd) !== own[index] ? fd : undefined
  })
  const place: StepPlace = {
    cwd: frame.text(Tag.CWD) ?? '/',
    close: () => {
      for (const fd of fds.splice(0)) native.closeFd(fd)
    },
  }
  if (foreign[0] !== undefined) place.mountNs = foreign[0]
  if (foreign[1] !== undefined) place.userNs = foreign[1]
  return place
}

function namespaceIdOf(path: string): string {
  const fd = openSync(path, 'r')
  try {
    return native.namespaceId(fd)
  } finally {
    native.closeFd(fd)
  }
}
