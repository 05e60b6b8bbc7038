// SPDX-License-Identifier: Apache-2.0
/** A program that works for a user on the node beside a step, with the rights of that user and no more. */
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { spawnOrdinary } from '../native/spawn.js'
import { native } from '../native.js'

export interface ProgramUser {
  uid: number
  gid: number
  gids: readonly number[]
}

/** node:child_process sets uid and gid and drops all groups; named whole, since PATH is the user's. */
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv']
const PRLIMIT = '/usr/bin/prlimit'
const PATH_DEFAULT = '/usr/local/bin:/usr/bin:/bin'
/** A path, and what a program says before it; stderr is shown by its end only. */
const STDOUT_BYTES_MAX = 64 << 10
const STDERR_BYTES_KEPT = 8 << 10
/** Between the request to end and the end that nobody can refuse. */
const KILL_WAIT_MS = 5000
/** What is in the pipes when the program has ended is read at once; somebody it left behind may hold them for ever. */
const DRAIN_MS_MAX = 1000

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
 * Never fails; the signal ends the program and what it started. Nothing that the loader or setpriv heeds may be in `env`:
 * that one runs as root first.
 */
export async function runAsUser(
  words: readonly string[],
  { uid, gid, gids }: ProgramUser,
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
  file?: ProgramFile,
): Promise<Ended> {
  const setpriv = SETPRIV.find((path) => existsSync(path))
  if (setpriv === undefined) return { status: 'no setpriv on this node', stdout: '', stderr: '' }
  const groups = gids.length === 0 ? '--clear-groups' : `--groups=${gids.join(',')}`
  const become = [`--reuid=${uid}`, `--regid=${gid}`, groups, '--inh-caps=-all', '--no-new-privs', '--']
  const limit = file === undefined ? [] : [PRLIMIT, `--fsize=${file.bytesMax}`, '--']
  const child = spawnOrdinary(native, setpriv, [...become, ...limit, ...words], {
    ...{ cwd: '/', env: { PATH: PATH_DEFAULT, ...env }, detached: true },
    stdio: ['ignore', file?.stdout ?? 'pipe', 'pipe'],
  })
  const ended: Ended = { status: 0, stdout: '', stderr: '' }
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    ended.stdout = (ended.stdout + text).slice(-STDOUT_BYTES_MAX)
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    ended.stderr = (ended.stderr + text).slice(-STDERR_BYTES_KEPT)
  })
  const stop = () => endGroup(child)
  if (signal.aborted) stop()
  signal.addEventListener('abort', stop, { once: true })
  child.on('exit', () => {
    // From here on its number may be another process group's.
    signal.removeEventListener('abort', stop)
    setTimeout(() => {
      child.stdout?.destroy()
      child.stderr?.destroy()
    }, DRAIN_MS_MAX).unref()
  })
  ended.status = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, by) =>
      resolve(code === 0 ? 0 : by === null ? `exit status ${code}` : `signal ${by}`),
    )
  })
  return ended
}

/** The program and what it started: it leads a process group of its own. */
function endGroup(child: ChildProcess): void {
  const { pid } = child
  if (pid === undefined) return
  const send = (name: NodeJS.Signals): void => {
    try {
      process.kill(-pid, name)
    } catch {
      // All of the group have ended.
    }
  }
  send('SIGTERM')
  const timer = setTimeout(() => send('SIGKILL'), KILL_WAIT_MS)
  child.on('exit', () => {
    clearTimeout(timer)
    // What it leaves behind, while the group's number is still theirs.
    send('SIGKILL')
  })
}

/** What a failing program said, to follow its status. */
export function lastLines(stderr: string): string {
  const lines = stderr.trim().split('\n').slice(-3).join('; ')
  return lines === '' ? '' : `: ${lines}`
}
