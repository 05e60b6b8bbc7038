// SPDX-License-Identifier: Apache-2.0
/**
 * berth-tend, started and without an order yet. One is kept ready on nodes whose steps want one: to fork a process of the
 * worker's size takes 2 ms, as long as some engines need to start.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { native } from '../native.js'

interface Tend {
  /** Fails with 'error' where it could not be made. */
  child: ChildProcess
  /** Undefined where there is no descriptor left. */
  control: Socket | undefined
}

const PROGRAM = join(import.meta.dirname, '..', 'berth-tend')
const CONTROL = 3
/** The step that took the last one has its tasks by then. */
const STANDBY_MS = 100

let standby: Tend | undefined

/** One whose standard input is empty. */
export function takeTend(): Tend {
  const tend = standby ?? spawnTend('ignore')
  standby = undefined
  setReferenced(tend, true)
  setTimeout(keepOne, STANDBY_MS).unref()
  return tend
}

/** @param stdin a pipe is the caller's to fill and to end */
export function spawnTend(stdin: 'ignore' | 'pipe'): Tend {
  const child = native.withoutForks(() =>
    spawn(PROGRAM, { cwd: '/', env: {}, stdio: [stdin, 'pipe', 'pipe', 'pipe'] }),
  )
  // Whoever takes it listens, too; before that nobody does.
  child.on('error', () => undefined)
  // Node gives a child that met EMFILE none at all.
  const control = (child.stdio as ChildProcess['stdio'] | undefined)?.[CONTROL] as Socket | undefined
  control?.on('error', () => undefined)
  return { child, control }
}

function keepOne(): void {
  if (standby !== undefined) return
  const tend = spawnTend('ignore')
  if (tend.control === undefined) return
  const forget = (): void => {
    if (standby === tend) standby = undefined
  }
  tend.child.once('error', forget).once('exit', forget)
  setReferenced(tend, false)
  standby = tend
}

/** One that waits keeps no process alive. */
function setReferenced({ child, control }: Tend, wanted: boolean): void {
  // All pipes of a child are sockets of node's.
  for (const one of [child, child.stdout as Socket | null, child.stderr as Socket | null, control])
    if (wanted) one?.ref()
    else one?.unref()
}
