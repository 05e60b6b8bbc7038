// SPDX-License-Identifier: Apache-2.0
/** One step of the stand-in for slurmstepd (stepd.c), driven from a test. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { until } from './until.js'

export const DIST = join(import.meta.dirname, '..', '..', '..', 'dist')
/** Ids without an account: names must not matter. */
export const UID = 61_301
export const OTHER_UID = 61_302

export interface StepOptions {
  options?: string[]
  command?: string[]
  uid?: number
  node?: number
  context?: string
  env?: Record<string, string>
}

/** One step; its tasks share stdout and stderr. */
export class TestStep {
  readonly handle = randomBytes(16).toString('hex')
  stdout = ''
  stderr = ''
  readonly pids = new Map<number, number>()
  readonly exits = new Map<number, number>()
  readonly child: ChildProcess
  private registered = false

  constructor(node: { socket: string; image: string }, stepd: string, given: StepOptions) {
    const options = given.options ?? [`container-image=${node.image}`]
    const command = given.command ?? ['true']
    const uid = String(given.uid ?? UID)
    const words = [
      node.socket,
      uid,
      uid,
      this.handle,
      given.context ?? 'step',
      String(given.node ?? 0),
      '/tmp',
    ]
    this.child = spawn(stepd, [...words, ...options, '--', join(DIST, 'berth-exec'), ...command], {
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
      env: { PATH: '/usr/bin:/bin', HOME: '/nonexistent', ...given.env },
    })
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    // A killed stand-in breaks its pipe.
    this.child.stdin?.on('error', () => undefined)
    const reports = this.child.stdio[3]
    if (reports === null || reports === undefined || !('read' in reports)) throw new Error('no report pipe')
    createInterface({ input: reports }).on('line', (line) => this.take(line))
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  async isRegistered(): Promise<void> {
    await until('registration', () => this.registered)
  }

  start(...ids: number[]): void {
    for (const id of ids) this.child.stdin?.write(`task ${id}\n`)
  }

  async exit(id = 0): Promise<number> {
    await until(`the end of task ${id}; stderr: ${this.stderr}`, () => this.exits.has(id))
    return this.exits.get(id) ?? -1
  }

  /** Starts the tasks and answers their exit codes. */
  async run(count = 1): Promise<number[]> {
    const ids = Array.from({ length: count }, (_, index) => index)
    this.start(...ids)
    const codes: number[] = []
    for (const id of ids) codes.push(await this.exit(id))
    return codes
  }

  async sees(text: string): Promise<void> {
    await until(`"${text}" in: ${this.stdout}${this.stderr}`, () =>
      (this.stdout + this.stderr).includes(text),
    )
  }

  /** The step ends as slurmstepd does when all its tasks have. */
  end(): void {
    this.child.stdin?.end()
  }

  kill(): void {
    for (const pid of this.pids.values()) if (existsSync(`/proc/${pid}`)) signal(pid)
    this.child.kill('SIGKILL')
  }

  private take(line: string): void {
    const [word, id, value] = line.split(' ')
    if (word === 'registered') this.registered = true
    if (word === 'task') this.pids.set(Number(id), Number(value))
    if (word === 'exit') {
      this.pids.delete(Number(id))
      this.exits.set(Number(id), Number(value))
    }
  }
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}
