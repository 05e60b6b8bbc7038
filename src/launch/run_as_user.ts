// SPDX-License-Identifier: Apache-2.0
/** A program that works for a user on the node beside a step, with the rights of that user and no more. */
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { exitStatus, giveOrder, type ProgramUser, spawnTend } from './tend.js'

/** PATH, by which programs are found, is the user's; these two are not. */
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv']
const PRLIMIT = '/usr/bin/prlimit'
const PATH_DEFAULT = '/usr/local/bin:/usr/bin:/bin'
/** A path, and what a program says before it; stderr is shown by its end only. */
const STDOUT_BYTES_MAX = 64 << 10
const STDERR_BYTES_KEPT = 8 << 10
/** berth-tend gives up on processes that do not die after 10 s; they may hold the pipes for ever. */
const KILL_MS_MAX = 12_000
/** To berth-tend (tend.c). */
const [PLEASE_END, END_NOW] = ['t', 'k']

interface Ended {
  /** "exit status 1", "signal SIGTERM", or 0. */
  status: 0 | string
  stdout: string
  stderr: string
}

export interface ProgramFile {
  /** What the program prints goes there instead of into Ended; borrowed. */
  stdout: number
  bytesMax: number
}

/**
 * Never fails. The signal ends the program, which may tidy up before; with the program ends all that it has left running,
 * wherever it forked to: none of it is in the step's cgroup, and nobody would ever end it.
 */
export async function runAsUser(
  words: readonly string[],
  user: ProgramUser,
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
  file?: ProgramFile,
): Promise<Ended> {
  const ended: Ended = { status: 0, stdout: '', stderr: '' }
  const setpriv = SETPRIV.find((path) => existsSync(path))
  if (setpriv === undefined) return { ...ended, status: 'no setpriv on this node' }
  const limit = file === undefined ? [] : [PRLIMIT, `--fsize=${file.bytesMax}`, '--']
  const argv = [setpriv, '--inh-caps=-all', '--no-new-privs', '--', ...limit, ...words]
  const tend = spawnTend('ignore', file?.stdout)
  const { child, control } = tend
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    ended.stdout = (ended.stdout + text).slice(-STDOUT_BYTES_MAX)
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    ended.stderr = (ended.stderr + text).slice(-STDERR_BYTES_KEPT)
  })
  const failed = new Promise<string>((resolve) => child.once('error', ({ message }) => resolve(message)))
  const over = new Promise((resolve) => child.once('close', resolve).once('error', resolve))
  giveOrder(tend, { argv, user, environment: { PATH: PATH_DEFAULT, ...env } })
  const stop = (): void => void control?.write(PLEASE_END)
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop, { once: true })
  const status = await Promise.race([exitStatus(tend), failed])
  signal.removeEventListener('abort', stop)
  control?.end(END_NOW)
  const late = setTimeout(() => {
    for (const stream of [child.stdout, child.stderr, control]) stream?.destroy()
  }, KILL_MS_MAX)
  await over
  clearTimeout(late)
  return { ...ended, status: describe(status) }
}

/** @param status as waitpid(2) gives it, or why there is none */
function describe(status: number | string | undefined): Ended['status'] {
  if (status === 0) return 0
  if (status === undefined) return 'no exit status'
  if (typeof status === 'string') return status
  const number = status & 0x7f
  if (number === 0) return `exit status ${(status >> 8) & 0xff}`
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0]
  return `signal ${name ?? number}`
}

/** What a failing program said, to follow its status. */
export function lastLines(stderr: string): string {
  const lines = stderr.trim().split('\n').slice(-3).join('; ')
  return lines === '' ? '' : `: ${lines}`
}
