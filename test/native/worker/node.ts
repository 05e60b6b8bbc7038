// SPDX-License-Identifier: Apache-2.0
/** A node without Slurm: a keeper in a directory of its own, a stand-in for slurmstepd, images made on the spot. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { leftovers } from '../../cluster/leftovers.js'

const ROOT = join(import.meta.dirname, '..', '..', '..')
export const DIST = join(ROOT, 'dist')
/** Files there and all directories above are root's alone, as the store wants of a squashfs file it mounts as it is. */
const BASE = '/run'
const WAIT_MS_MAX = 20_000
/** Ids without an account: names must not matter. */
export const UID = 61_301
export const OTHER_UID = 61_302

export interface Said {
  status: number | null
  stdout: string
  stderr: string
}

/** Empty where these tests can run. */
export function missingForNode(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root'
  const absent = ['berth-exec', 'berth-keeper', 'berth.node', 'bin/worker.js', 'node'].filter(
    (name) => !existsSync(join(DIST, name)),
  )
  return absent.length === 0 ? undefined : `needs dist/${absent.join(', dist/')}: npm run build`
}

export class TestNode {
  readonly dir = mkdtempSync(join(BASE, 'berth-test-'))
  readonly runtime = join(this.dir, 'run')
  readonly store = join(this.dir, 'store')
  readonly image: string
  private readonly stepd: string
  private readonly steps: TestStep[] = []
  private readonly commands: ChildProcess[] = []

  constructor(private readonly settings: Record<string, string> = {}) {
    // mkdtemp makes it 0700; users must reach the socket and their files below.
    must('chmod', ['0755', this.dir])
    mkdirSync(this.runtime)
    this.stepd = join(this.dir, 'stepd')
    must('cc', ['-O1', '-o', this.stepd, join(import.meta.dirname, 'stepd.c')])
    this.image = makeImage(this.dir)
  }

  get socket(): string {
    return join(this.runtime, 'worker.sock')
  }

  get log(): string {
    const path = join(this.runtime, 'worker.log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }

  startKeeper(): void {
    const places = { 'runtime-dir': this.runtime, store: this.store, ...this.settings }
    must(
      join(DIST, 'berth-keeper'),
      Object.entries(places).map(([name, value]) => `--${name}=${value}`),
    )
  }

  /** Pid of the worker; waits for it. */
  async workerPid(other = 0): Promise<number> {
    let pid = 0
    await until('a worker', () => {
      pid = readPid(join(this.runtime, 'worker.pid'))
      return pid !== 0 && pid !== other
    })
    return pid
  }

  keeperPid(): number {
    return readPid(join(this.runtime, 'keeper.pid'))
  }

  step(options: StepOptions = {}): TestStep {
    const step = new TestStep(this, this.stepd, options)
    this.steps.push(step)
    return step
  }

  /** Names of the lease files. */
  leases(): string[] {
    const steps = join(this.runtime, 'steps')
    return existsSync(steps) ? readdirSync(steps) : []
  }

  /** Pids of the worker's children that hold a file in its store's tmp/. */
  async importers(): Promise<number[]> {
    const worker = await this.workerPid()
    return readOr(`/proc/${worker}/task/${worker}/children`)
      .trim()
      .split(' ')
      .filter(Boolean)
      .map(Number)
      .filter((pid) => openFiles(pid).some((path) => path.startsWith(join(this.store, 'tmp'))))
  }

  /** Files of imports that have not come to an end. */
  unfinished(): string[] {
    const folder = join(this.store, 'tmp')
    return existsSync(folder) ? readdirSync(folder) : []
  }

  /** The pid of the worker that answers `request`. */
  async workerPidAfter(request: () => void): Promise<number> {
    request()
    return this.workerPid()
  }

  cli(...args: string[]): Said {
    return this.cliAs(0, ...args)
  }

  cliAs(uid: number, ...args: string[]): Said {
    const { command, args: words, options } = this.cliCommand(uid, ...args)
    return spawnSync(command, words, options)
  }

  spawnCli(uid: number, ...args: string[]): ChildProcess {
    const { command, args: words, options } = this.cliCommand(uid, ...args)
    const child = spawn(command, words, options)
    this.commands.push(child)
    return child
  }

  /** setpriv keeps the pid, so that signals reach the command itself. */
  cliCommand(uid: number, ...args: string[]) {
    const berth = [join(DIST, 'node'), join(DIST, 'bin/berth.js'), ...args]
    const become = uid === 0 ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
    const [command = '', ...words] = [...become, ...berth]
    const options = { encoding: 'utf8', cwd: '/', env: this.environment() } as const
    return { command, args: words, options }
  }

  environment(): NodeJS.ProcessEnv {
    return { PATH: process.env.PATH, HOME: '/root', BERTH_RUNTIME_DIR: this.runtime, BERTH_STORE: this.store }
  }

  /** Ends everything; the answer names what stayed behind. */
  async stop(): Promise<string[]> {
    for (const step of this.steps) step.kill()
    for (const child of this.commands) child.kill('SIGKILL')
    const keeper = this.keeperPid()
    if (keeper !== 0) {
      process.kill(keeper, 'SIGTERM')
      await until('the end of the keeper', () => !existsSync(`/proc/${keeper}`))
    }
    await until('nothing left', () => leftovers(this.dir).length === 0).catch(() => undefined)
    const left = leftovers(this.dir)
    rmSync(this.dir, { recursive: true, force: true })
    return left
  }
}

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

  constructor(node: TestNode, stepd: string, given: StepOptions) {
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

/** Waits for a condition; the message says for what. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_MS_MAX
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Sends bytes as another user would and answers what comes back until the other side hangs up. */
export function talk(socket: string, bytes: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = []
    const client = connect(socket, () => void client.write(bytes))
    client.on('data', (part: Buffer) => void parts.push(part))
    client.on('error', reject)
    client.on('close', () => resolve(Buffer.concat(parts)))
  })
}

export function must(file: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(file, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}: ${error ?? stderr}`)
  return stdout
}

function readPid(path: string): number {
  try {
    const pid = Number(readFileSync(path, 'utf8'))
    return existsSync(`/proc/${pid}`) ? pid : 0
  } catch {
    return 0
  }
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
  } catch {
    return []
  }
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself.
  }
}

/** A squashfs with busybox and nothing else, owned by root. */
function makeImage(dir: string): string {
  const tree = join(dir, 'tree')
  const image = join(dir, 'busybox.sqsh')
  must('mkdir', [
    '-p',
    ...['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'run', 'root'].map((name) => join(tree, name)),
  ])
  must('cp', ['/bin/busybox', join(tree, 'bin/busybox')])
  must('chroot', [tree, '/bin/busybox', '--install', '-s', '/bin'])
  must('sh', [
    '-c',
    `echo berth-test > ${tree}/etc/inside; echo root:x:0:0:root:/root:/bin/sh > ${tree}/etc/passwd`,
  ])
  must('mksquashfs', [tree, image, '-quiet', '-no-progress', '-all-root', '-noappend'])
  rmSync(tree, { recursive: true, force: true })
  return image
}
