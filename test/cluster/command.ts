// SPDX-License-Identifier: Apache-2.0
/** Runs programs as root or as a test user and keeps all they said: one shape of outcome for every test. */
import { type ChildProcess, spawn } from 'node:child_process'

/** Longer than any single command of the suite takes on two cores; a hang then fails with what was printed. */
const COMMAND_TIME_MAX_MS = 300_000

/** Of what usually comes within a second: a first job imports an image meanwhile, beside other tests. */
const WAIT_TIME_MAX_MS = 90_000

export interface Outcome {
  /** null when a signal ended it. */
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
  /** Both streams in the order of arrival. */
  output: string
  milliseconds: number
}

export interface RunOptions {
  user?: string
  cwd?: string
  /** Added to a clean environment (PATH, LANG, HOME, USER and what the cluster needs), never the caller's own. */
  env?: Record<string, string>
  input?: string
  timeoutMs?: number
}

/** A command that is still running. */
export interface Running {
  readonly pid: number
  readonly done: Promise<Outcome>
  /** Resolves once the output so far matches; rejects when the command ends first or time is up. */
  sees(pattern: RegExp, timeoutMs?: number): Promise<void>
  output(): string
  /** Sends to the whole process group, as a terminal does. */
  kill(signal: NodeJS.Signals): void
  /** Ctrl-C as often as srun asks for one more, which it does again where that came later than within a second. */
  interrupt(): Promise<Outcome>
}

function asUser(argv: readonly string[], user: string | undefined): string[] {
  if (user === undefined || user === 'root') return [...argv]
  return ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--init-groups', '--inh-caps=-all', '--', ...argv]
}

function cleanEnvironment(options: RunOptions): Record<string, string> {
  const user = options.user ?? 'root'
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LANG: 'C.UTF-8',
    HOME: user === 'root' ? '/root' : `/home/${user}`,
    USER: user,
    TERM: 'dumb',
    ...options.env,
  }
}

/** Starts a command in its own process group. */
export function start(argv: readonly string[], options: RunOptions = {}): Running {
  const [file = '', ...rest] = asUser(argv, options.user)
  const began = performance.now()
  const child = spawn(file, rest, {
    cwd: options.cwd ?? '/',
    env: cleanEnvironment(options),
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  })
  const texts = { stdout: '', stderr: '', output: '' }
  const watchers = new Set<() => void>()
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      texts[stream] += text
      texts.output += text
      for (const watcher of watchers) watcher()
    })
  }
  // A command that does not read its input closes the pipe; that is no failure of the test.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  return watch(child, texts, watchers, began, options, argv)
}

function watch(
  child: ChildProcess,
  texts: { stdout: string; stderr: string; output: string },
  watchers: Set<() => void>,
  began: number,
  options: RunOptions,
  argv: readonly string[],
): Running {
  const pid = child.pid ?? 0
  const kill = (signal: NodeJS.Signals): void => {
    try {
      if (pid > 0) process.kill(-pid, signal)
    } catch {
      // Ended already.
    }
  }
  const done = new Promise<Outcome>((resolve, reject) => {
    const timer = setTimeout(() => {
      kill('SIGKILL')
      reject(new Error(`no end of ${argv.join(' ')}; it said:\n${texts.output}`))
    }, options.timeoutMs ?? COMMAND_TIME_MAX_MS)
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, ...texts, milliseconds: performance.now() - began })
    })
  })
  // Whoever cares awaits `done`; a test that only watches the output must not die of an unhandled rejection.
  done.catch(() => {})
  const sees = (pattern: RegExp, timeoutMs = WAIT_TIME_MAX_MS): Promise<void> =>
    new Promise((resolve, reject) => {
      const finish = (error?: Error): void => {
        clearTimeout(timer)
        watchers.delete(look)
        if (error === undefined) resolve()
        else reject(error)
      }
      const look = (): void => {
        if (pattern.test(texts.output)) finish()
      }
      const timer = setTimeout(
        () => finish(new Error(`never saw ${pattern} in:\n${texts.output}`)),
        timeoutMs,
      )
      watchers.add(look)
      done.then(
        () =>
          pattern.test(texts.output)
            ? finish()
            : finish(new Error(`ended without ${pattern}:\n${texts.output}`)),
        finish,
      )
      look()
    })
  const interrupt = (): Promise<Outcome> => {
    const questions = () => texts.output.split('one more within').length
    let answered = questions()
    const answer = (): void => {
      if (questions() === answered) return
      answered = questions()
      kill('SIGINT')
    }
    watchers.add(answer)
    kill('SIGINT')
    return done.finally(() => watchers.delete(answer))
  }
  return { pid, done, sees, kill, interrupt, output: () => texts.output }
}

/** Runs to the end. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return start(argv, options).done
}

/** Runs to the end as a step of preparing something. @throws Error with all output when the exit code is not 0. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const outcome = await run(argv, options)
  if (outcome.code !== 0) {
    throw new Error(`${argv.join(' ')}: exit ${outcome.code ?? outcome.signal}\n${outcome.output}`)
  }
  return outcome
}

/** Between two questions of a long wait: each may start a program, on processors that what is waited for needs. */
const PAUSE_MS_MAX = 100
const PAUSE_SHARE = 1 / 10

/** Waits until `holds` answers true, asking every `everyMs` at first; @throws Error naming `what` when time is up. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = WAIT_TIME_MAX_MS,
  everyMs = 50,
): Promise<void> {
  const began = performance.now()
  for (;;) {
    if (await holds()) return
    const waited = performance.now() - began
    if (waited > timeoutMs) throw new Error(`waited ${timeoutMs} ms for ${what}`)
    const pause = Math.max(everyMs, Math.min(waited * PAUSE_SHARE, PAUSE_MS_MAX))
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}
