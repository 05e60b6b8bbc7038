// SPDX-License-Identifier: Apache-2.0
/** Programs that print secrets, run as the user by the user's own process: no shell, bounded time and output. */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Stage } from './command_line.js'

/** A cloud's command line that asks for a new token takes a few seconds; who waits is a job's start. */
const RUN_MS_MAX = 20_000
const STDOUT_BYTES_MAX = 64 << 10
const STDERR_BYTES_KEPT = 2 << 10
/** What is in the pipe when the program has ended is read at once; somebody it left behind may hold it for ever. */
const DRAIN_MS_MAX = 1000

const running = new Set<readonly ChildProcess[]>()

export interface Ran {
  /** A clause; '' when it ended with 0. */
  problem: string
  stdout: string
  /** Its last line, for messages. */
  complaint: string
}

/** The last one's stdout; the first one's stdin is `input`. */
export async function runPipeline(
  stages: readonly Stage[],
  env: NodeJS.ProcessEnv,
  input = '',
  run_ms_max = RUN_MS_MAX,
): Promise<Ran> {
  const children: ChildProcess[] = []
  running.add(children)
  let stderr = ''
  for (const { argv, env: own } of stages) {
    const [program = '', ...words] = argv
    // Their own process groups: what they leave behind is ended with them.
    const child = spawn(program, words, { env: { ...env, ...own }, detached: true })
    const before = children.at(-1)
    child.stdin.on('error', () => undefined)
    if (before?.stdout) before.stdout.pipe(child.stdin)
    else child.stdin.end(input)
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-STDERR_BYTES_KEPT)
    })
    children.push(child)
  }
  const ran = await collect(children, run_ms_max)
  for (const child of children) endGroup(child)
  running.delete(children)
  return { ...ran, complaint: stderr.trim().split('\n').at(-1) ?? '' }
}

async function collect(
  children: readonly ChildProcess[],
  run_ms_max: number,
): Promise<Omit<Ran, 'complaint'>> {
  const last = children.at(-1)
  const parts: Buffer[] = []
  let bytes = 0
  let excess = ''
  const stop = (why: string) => {
    excess ||= why
    for (const child of children) endGroup(child)
  }
  const timer = setTimeout(() => stop(`gave no answer in ${run_ms_max / 1000} s`), run_ms_max)
  last?.stdout?.on('data', (part: Buffer) => {
    bytes += part.length
    if (bytes <= STDOUT_BYTES_MAX) parts.push(part)
    else stop(`printed more than ${STDOUT_BYTES_MAX >> 10} KiB`)
  })
  const problems = await Promise.all(children.map(ended))
  clearTimeout(timer)
  const problem = excess || (problems.find((text) => text.startsWith('cannot')) ?? problems.at(-1) ?? '')
  return { problem, stdout: Buffer.concat(parts).toString('utf8') }
}

function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.on('error', (error) => resolve(`cannot be run (${(error as NodeJS.ErrnoException).code})`))
    child.on('exit', (code, signal) => {
      const how = signal === null ? `ended with status ${code}` : `was ended by ${signal}`
      const drop = () => {
        child.stdout?.destroy()
        child.stderr?.destroy()
      }
      const timer = setTimeout(drop, DRAIN_MS_MAX)
      child.on('close', () => {
        clearTimeout(timer)
        resolve(code === 0 ? '' : how)
      })
    })
  })
}

/** They lead process groups of their own: a signal for this process does not reach them. */
export function endPrograms(): void {
  for (const children of running) for (const child of children) endGroup(child)
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // All of the group have ended.
  }
}
