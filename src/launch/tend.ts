// SPDX-License-Identifier: Apache-2.0
/**
 * berth-tend: starts a program for a user and answers for all that it leaves running. One is kept ready on nodes whose
 * steps want one: to fork a process of the worker's size takes 2 ms, as long as some engines need to start.
 */
import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { startProgram } from '../native/spawn.js'
import { native } from '../native.js'
import { DIST } from '../site/dist.js'

export interface Tend {
  /** Fails with 'error' where it could not be made. */
  child: ChildProcess
  /** Undefined where there is no descriptor left. */
  control: Socket | undefined
}

/** Whose rights a program has. */
export interface ProgramUser {
  uid: number
  gid: number
  gids: readonly number[]
}

/** What is to be run; descriptors of the namespaces are borrowed until it is over, and without one it is the worker's. */
interface TendOrder {
  argv: readonly string[]
  user: ProgramUser
  environment: Readonly<Record<string, string>>
  mountNs?: number
  userNs?: number
}

const PROGRAM = join(DIST, 'berth-tend')
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

/**
 * @param stdin a pipe is the caller's to fill and to end
 * @param stdout a descriptor, borrowed until the program has ended
 */
export function spawnTend(stdin: 'ignore' | 'pipe', stdout: 'pipe' | number = 'pipe'): Tend {
  const stdio = [stdin, stdout, 'pipe', 'pipe'] as const
  const child = startProgram(native, PROGRAM, [], { cwd: '/', env: {}, stdio: [...stdio] })
  // Whoever takes it listens, too; before that nobody does.
  child.on('error', () => undefined)
  // Node gives a child that met EMFILE none at all.
  const control = (child.stdio as ChildProcess['stdio'] | undefined)?.[CONTROL] as Socket | undefined
  control?.on('error', () => undefined)
  return { child, control }
}

/** Once. Descriptors are opened by their numbers in this process. */
export function giveOrder({ control }: Tend, { argv, user, environment, mountNs, userNs }: TendOrder): void {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  const who = [user.uid, user.gid, user.gids.join(',')]
  const words = [...who, mountNs ?? '', userNs ?? '', argv.length, ...argv, ...variables]
  const order = Buffer.from(words.map((word) => `${word}\0`).join(''))
  control?.write(`${order.length}\n`)
  control?.write(order)
}

/** Of the program, as waitpid(2) gives it, when it has ended; undefined when nobody can tell any more. */
export async function exitStatus({ control }: Tend): Promise<number | undefined> {
  let text = ''
  if (control === undefined) return undefined
  await new Promise<void>((resolve) => {
    control.on('data', (piece: Buffer) => {
      text += piece.toString('latin1')
      if (text.includes('\n')) resolve()
    })
    control.on('close', resolve)
  })
  const status = /^exit (-?\d+)\n/.exec(text)?.[1]
  return status === undefined ? undefined : Number(status)
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
