// SPDX-License-Identifier: Apache-2.0
/** A node without Slurm: a keeper in a directory of its own, a stand-in for slurmstepd, images made on the spot. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { pidIn, processAlive, readOr } from '../../cluster/daemon.js'
import { leftovers } from '../../cluster/leftovers.js'
import { DIST, type StepOptions, TestStep } from './stand_in.js'
import { until } from './until.js'

/** Files there and all directories above are root's alone, as the store wants of a squashfs file it mounts as it is. */
const BASE = '/run'

export { DIST, OTHER_UID, UID } from './stand_in.js'
export { until } from './until.js'

/** A setting that is not given to the worker. */
export const UNSAID = ''

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
    this.image = join(this.dir, 'busybox.sqsh')
    made ??= makeOnce()
    copyFileSync(join(made, 'stepd'), this.stepd)
    copyFileSync(join(made, 'busybox.sqsh'), this.image)
  }

  get socket(): string {
    return join(this.runtime, 'worker.sock')
  }

  get log(): string {
    return readOr(join(this.runtime, 'worker.log'))
  }

  startKeeper(): void {
    const places = { 'runtime-dir': this.runtime, store: this.store, ...this.settings }
    const given = Object.entries(places).filter(([, value]) => value !== UNSAID)
    must(
      join(DIST, 'berth-keeper'),
      given.map(([name, value]) => `--${name}=${value}`),
    )
  }

  /** Pid of the worker; waits for it. */
  async workerPid(other = 0): Promise<number> {
    let pid = 0
    await until('a worker', () => {
      pid = pidIn(join(this.runtime, 'worker.pid')) ?? 0
      return pid !== 0 && pid !== other
    })
    return pid
  }

  keeperPid(): number {
    return pidIn(join(this.runtime, 'keeper.pid')) ?? 0
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

  /** In an image, beside a registry of the test's own process: who would wait by blocking would wait for ever. */
  startEcho(image: string) {
    const child = this.spawnCli(0, 'run', image, '--', '/busybox', 'echo', 'inside')
    const said = { text: '', status: new Promise<number | null>((done) => child.on('close', done)) }
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (text: Buffer) => {
        said.text += text
      })
    return said
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
    const { PATH } = process.env
    const places = { BERTH_RUNTIME_DIR: this.runtime, BERTH_STORE: this.settings.store ?? this.store }
    return { PATH, HOME: '/root', ...places }
  }

  /** Ends everything; the answer names what stayed behind. */
  async stop(): Promise<string[]> {
    for (const step of this.steps) step.kill()
    for (const child of this.commands) child.kill('SIGKILL')
    const keeper = this.keeperPid()
    if (keeper !== 0) {
      process.kill(keeper, 'SIGTERM')
      await until('the end of the keeper', () => !processAlive(keeper))
    }
    await until('nothing left', () => leftovers(this.dir).length === 0).catch(() => undefined)
    const left = leftovers(this.dir)
    rmSync(this.dir, { recursive: true, force: true })
    return left
  }
}

/** All that it says, when it has ended. */
export async function collect(child: ChildProcess): Promise<Said> {
  const said: Said = { status: null, stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text
    })
  await new Promise((resolve) => child.on('close', resolve))
  said.status = child.exitCode
  return said
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

function must(file: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(file, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}: ${error ?? stderr}`)
  return stdout
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
  } catch {
    return []
  }
}

/** Where what all nodes of a test file are copied from is; it goes with the process. */
let made: string | undefined

function makeOnce(): string {
  const dir = mkdtempSync(join(BASE, 'berth-test-made-'))
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
  must('cc', ['-O1', '-o', join(dir, 'stepd'), join(import.meta.dirname, 'stepd.c')])
  makeImage(join(dir, 'tree'), join(dir, 'busybox.sqsh'))
  return dir
}

/** A squashfs with busybox and nothing else, owned by root. */
function makeImage(tree: string, image: string): void {
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
}
