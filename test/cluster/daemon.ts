// SPDX-License-Identifier: Apache-2.0
/** Daemons of a throwaway cluster: started in the foreground, told from others by pid, ended by pid. */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { until } from './command.js'

/** slurmctld writes its state when asked to stop; on a loaded machine that took up to three seconds. */
const STOP_TIME_MAX_MS = 15_000

export interface Daemon {
  readonly name: string
  readonly pid: number
  readonly log: string
  /** SIGTERM, then SIGKILL after a while; returns when it is gone. */
  stop(): Promise<void>
  alive(): boolean
}

interface DaemonOptions {
  env?: Record<string, string>
  /** It stays when this process ends (demo --keep); else the kernel ends it with us, even after SIGKILL. */
  outlive?: boolean
  /** State of its own, to be removed after its end. */
  directory?: string
}

/** Everything started by this process, in order. */
export const started: { name: string; pid: number; directory?: string }[] = []

/** Starts `argv` with its output in `log`. */
export function startDaemon(
  name: string,
  argv: readonly string[],
  log: string,
  options: DaemonOptions = {},
): Daemon {
  const out = openSync(log, 'a')
  const bound = options.outlive === true ? [] : ['setpriv', '--pdeathsig', 'TERM', '--']
  const [file = '', ...rest] = [...bound, ...argv]
  const child = spawn(file, rest, {
    stdio: ['ignore', out, out],
    detached: true,
    cwd: '/',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', ...options.env },
  })
  closeSync(out)
  child.unref()
  const pid = child.pid ?? 0
  started.push({ name, pid, ...(options.directory === undefined ? {} : { directory: options.directory }) })
  let ended = pid === 0
  child.on('exit', () => {
    ended = true
  })
  child.on('error', () => {
    ended = true
  })
  const alive = (): boolean => !ended
  return { name, pid, log, alive, stop: () => stopProcess(pid, alive) }
}

async function stopProcess(pid: number, alive: () => boolean): Promise<void> {
  if (!alive()) return
  sendSignal(pid, 'SIGTERM')
  try {
    await until(`end of ${pid}`, () => !alive(), STOP_TIME_MAX_MS)
  } catch {
    sendSignal(pid, 'SIGKILL')
    await until(`end of ${pid} after SIGKILL`, () => !alive(), STOP_TIME_MAX_MS)
  }
}

export function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Gone already.
  }
}

/** Whether the process exists and is no zombie: an init that looks for orphans now and then leaves one for a second. */
export function processAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

/** Ends a process that is not our child (a keeper), found by its pid file. */
export async function stopByPidFile(file: string): Promise<void> {
  const pid = pidIn(file)
  if (pid !== undefined) await stopProcess(pid, () => processAlive(pid))
}

/** The process that a pid file names, where it lives. Whoever ends takes its file away, maybe while it is looked for. */
export function pidIn(file: string): number | undefined {
  const pid = Number(readOr(file).trim())
  return Number.isInteger(pid) && pid > 1 && processAlive(pid) ? pid : undefined
}

/** A file of something that may end meanwhile; '' then. */
export function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** Below the kernel's ephemeral range, so that no outgoing connection takes a port between our look and the bind. */
const PORT_MIN = 20_000
const PORT_MAX = 32_000

/** `count` TCP ports that are free on loopback now, and that no other test file gets while this process lives. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN))
    if ((await reserve(port)) && (await portIsFree(port))) ports.push(port)
  }
  return ports
}

/** By an abstract socket (unix(7)), which the kernel frees with the process. False: somebody has it, maybe we. */
function reserve(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(`\0berth-test-port-${port}`, () => {
      server.unref()
      resolve(true)
    })
  })
}

function portIsFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
