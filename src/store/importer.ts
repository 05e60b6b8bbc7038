// SPDX-License-Identifier: Apache-2.0
/** Importer processes: started without rights, spoken to in frames, ended by SIGKILL. */
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { EXTRA_CERTIFICATES, takeFail } from '../image/wire.js'
import { spawnOrdinary } from '../native/spawn.js'
import type { Native, NativeSocket } from '../native.js'
import { BerthError } from '../report/errors.js'
import {
  encodeFrame,
  type Fields,
  type Frame,
  FrameReader,
  type FrameType,
  Tag,
  Type,
} from '../worker/frame.js'

/** JavaScript's share of the importer: manifests are small, layers pass through in pieces. */
const HEAP_MIB_MAX = 96
/** What name resolution and TLS read besides the program itself. */
const READABLE = ['/etc', '/usr', '/lib', '/lib64', '/run/systemd/resolve']
const ENVIRONMENT = /^((https?|all|no)_proxy|SSL_CERT_FILE|SSL_CERT_DIR)$/i

export interface ImporterOptions {
  /** Directory of the built program: node, bin/importer.js, native.js. */
  distDir: string
  user: { uid: number; gid: number }
  /** RLIMIT_FSIZE of the importer. */
  bytesMax: number
  /** Variables, over those of the worker. */
  proxy: Readonly<Record<string, string>>
}

/** What may come in between an order and its answer. */
export interface Between {
  importing?: (frame: Frame) => void
  asking?: (frame: Frame) => void
  /** Descriptor of a file below the user's source; closed after it was sent. */
  open?: (name: string) => Promise<number>
}

export class ImporterProcess {
  /** The user whose credentials it has seen; undefined: nobody's. */
  uid: number | undefined
  /** Resolves when the process is gone, with a clause that says how. */
  readonly ended: Promise<string>
  private readonly child: ChildProcess
  private readonly socket: NativeSocket
  private readonly frames = new FrameReader()
  private pending:
    | { resolve: (frame: Frame) => void; reject: (error: Error) => void; between: Between }
    | undefined
  private gone: string | undefined
  private answered = false
  private parsed = false

  constructor(
    private readonly native: Native,
    options: ImporterOptions,
  ) {
    const [ours, theirs] = native.socketPair()
    this.child = spawnOrdinary(native, nodeOf(options.distDir), argumentsOf(options), {
      ...options.user,
      cwd: '/',
      env: importerEnvironment(options.proxy),
      stdio: ['ignore', 'ignore', 'inherit', theirs],
    })
    native.closeFd(theirs)
    this.ended = new Promise((resolve) => {
      const end = (how: string) => {
        this.gone = how
        this.fail(new BerthError('BERTH_EIMPORTER', { problem: how }))
        resolve(how)
      }
      this.child.once('error', (error) => {
        const place = `user ${options.user.uid} must be able to run ${nodeOf(options.distDir)}`
        end(`cannot start: ${place} (${(error as NodeJS.ErrnoException).code})`)
      })
      this.child.once('exit', (status, signal) => {
        if (signal !== null) end(`was ended by ${signal}`)
        else if (this.answered) end(`ended with status ${status}`)
        else end(`cannot start: user ${options.user.uid} must be able to read ${options.distDir}`)
      })
    })
    this.socket = native.adopt(ours, {
      data: (bytes, fds) => this.receive(bytes, fds),
      closed: () => {},
    })
    // An idle importer does not keep the worker running; one with an order does.
    this.child.unref()
    this.socket.unref()
  }

  get alive(): boolean {
    return this.gone === undefined
  }

  /** It has read what strangers made, and has files of the store open. */
  get spent(): boolean {
    return this.parsed
  }

  /** One order at a time. @throws BerthError as the importer sent it, or BERTH_EIMPORTER when it died. */
  ask(type: FrameType, fields: Fields, fds: readonly number[] = [], between: Between = {}): Promise<Frame> {
    return new Promise((resolve, reject) => {
      if (this.gone !== undefined) return reject(new BerthError('BERTH_EIMPORTER', { problem: this.gone }))
      if (type === Type.IMPORT) this.parsed = true
      this.pending = { resolve, reject, between }
      this.child.ref()
      this.socket.send(encodeFrame(type, fields), fds)
    })
  }

  /** Afterwards nobody writes to a file that it was given. */
  async end(): Promise<void> {
    this.socket.close()
    this.child.ref()
    if (this.alive) this.child.kill('SIGKILL')
    await this.ended
  }

  private receive(bytes: Buffer, fds: number[]): void {
    // The importer has nothing to hand over: descriptors from it are closed unseen.
    for (const fd of fds) this.native.closeFd(fd)
    try {
      for (const frame of this.frames.push(bytes)) this.take(frame)
    } catch {
      this.fail(new BerthError('BERTH_EIMPORTER', { problem: 'broke the protocol' }))
      void this.end()
    }
  }

  private take(frame: Frame): void {
    this.answered = true
    const { pending } = this
    if (pending === undefined) return
    if (frame.type === Type.IMPORTING) pending.between.importing?.(frame)
    else if (frame.type === Type.ASKING) pending.between.asking?.(frame)
    else if (frame.type === Type.OPEN) void this.handOver(frame.text(Tag.NAME) ?? '', pending.between)
    else {
      this.pending = undefined
      this.child.unref()
      if (frame.type === Type.FAIL) pending.reject(takeFail(frame))
      else pending.resolve(frame)
    }
  }

  private async handOver(name: string, between: Between): Promise<void> {
    try {
      if (between.open === undefined) throw new BerthError('BERTH_EIMPORTER', { problem: 'asked for a file' })
      const fd = await between.open(name)
      this.socket.send(encodeFrame(Type.OPENED), [fd])
      this.native.closeFd(fd)
    } catch (error) {
      const known =
        error instanceof BerthError ? error : new BerthError('BERTH_EINTERNAL', { problem: String(error) })
      const fields: Fields = [
        [Tag.CODE, known.code],
        [Tag.DATA, JSON.stringify(known.fields)],
      ]
      if (this.alive) this.socket.send(encodeFrame(Type.FAIL, fields))
    }
  }

  private fail(error: Error): void {
    const { pending } = this
    this.pending = undefined
    pending?.reject(error)
  }
}

/** Node.js of the installation, else the one that runs. */
export function nodeOf(distDir: string): string {
  const own = join(distDir, 'node')
  return existsSync(own) ? own : process.execPath
}

function argumentsOf({ distDir, bytesMax }: ImporterOptions): string[] {
  const readable = [...READABLE, distDir].filter((folder) => existsSync(folder))
  return [
    `--max-old-space-size=${HEAP_MIB_MAX}`,
    join(distDir, 'bin/importer.js'),
    String(bytesMax),
    ...readable,
  ]
}

/** Of the worker's variables only these are an importer's. */
export function importerEnvironment(proxy: ImporterOptions['proxy']): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => ENVIRONMENT.test(name))
  const { NODE_EXTRA_CA_CERTS: extra } = process.env
  // By that name Node would read it at every start, for 80 ms, and for nothing: fetch.ts says whom it trusts.
  const certificates = extra === undefined ? {} : { [EXTRA_CERTIFICATES]: extra }
  return { ...Object.fromEntries(kept), ...proxy, ...certificates, PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' }
}
