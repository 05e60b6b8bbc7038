// SPDX-License-Identifier: Apache-2.0
/** Registries for tests, on loopback: Debian's docker-registry as the real one, a scripted one for hostile cases. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from './cluster/daemon.js'

const START_MS_MAX = 60_000

export interface RealRegistry {
  /** 127.0.0.1:PORT */
  host: string
  directory: string
  pid: number
  stop(): Promise<void>
}

/** Debian's docker-registry with a configuration and a directory of its own. */
export async function startRegistry(): Promise<RealRegistry> {
  const directory = mkdtempSync(join(tmpdir(), 'berth-registry-'))
  const host = `127.0.0.1:${await freePort()}`
  const config = join(directory, 'config.yml')
  writeFileSync(
    config,
    [
      'version: 0.1',
      'log: {level: error, accesslog: {disabled: true}}',
      `storage: {filesystem: {rootdirectory: ${directory}/data}, delete: {enabled: true}}`,
      `http: {addr: "${host}"}`,
      '',
    ].join('\n'),
  )
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  await waitUntilUp(child, `http://${host}/v2/`)
  return {
    host,
    directory,
    pid: child.pid ?? 0,
    async stop() {
      child.kill()
      await ended
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function waitUntilUp(child: ChildProcess, url: string): Promise<void> {
  const end = Date.now() + START_MS_MAX
  for (;;) {
    const answer = await fetch(url).catch(() => undefined)
    if (answer?.ok) return
    if (child.exitCode !== null || Date.now() > end) throw new Error('docker-registry does not start')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1)
  return port
}

interface Asked {
  method: string
  url: string
  headers: IncomingMessage['headers']
}

/** Answers a request and returns true, or leaves it to the next handler. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => boolean | undefined

/**
 * A registry that holds what a test puts into it and misbehaves as told: `before` handlers see each request first.
 * Without them it is a plain, correct registry without logins.
 */
export class FakeRegistry {
  readonly asked: Asked[] = []
  readonly before: Handler[] = []
  readonly blobs = new Map<string, Buffer>()
  /** By tag and by digest. */
  readonly manifests = new Map<string, { bytes: Buffer; type: string }>()
  private readonly server: Server

  private constructor() {
    this.server = createServer((request, response) => {
      this.asked.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers })
      if (this.before.some((handler) => handler(request, response) === true)) return
      this.answer(request, response)
    })
  }

  static async start(address = '127.0.0.1'): Promise<FakeRegistry> {
    const registry = new FakeRegistry()
    await new Promise<void>((resolve) => registry.server.listen(0, address, resolve))
    return registry
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  get host(): string {
    return `127.0.0.1:${this.port}`
  }

  get origin(): string {
    return `http://${this.host}`
  }

  putBlob(bytes: Buffer): { digest: string; size: number } {
    const digest = sha256(bytes)
    this.blobs.set(digest, bytes)
    return { digest, size: bytes.length }
  }

  putManifest(
    json: unknown,
    type: string,
    tag?: string,
  ): { digest: string; size: number; mediaType: string } {
    const bytes = Buffer.from(JSON.stringify(json))
    const digest = sha256(bytes)
    this.manifests.set(digest, { bytes, type })
    if (tag !== undefined) this.manifests.set(tag, { bytes, type })
    return { digest, size: bytes.length, mediaType: type }
  }

  /** A single-platform image of these layers (plain tars unless `diffIds` says what they are when inflated). */
  putImage(
    layers: Buffer[],
    options: ImageOptions = {},
  ): { digest: string; size: number; mediaType: string } {
    const config = {
      os: 'linux',
      architecture: 'amd64',
      config: { Env: ['PATH=/bin'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: options.diffIds ?? layers.map(sha256) },
      ...options.config,
    }
    const type = 'application/vnd.oci.image.manifest.v1+json'
    const manifest = {
      schemaVersion: 2,
      mediaType: type,
      config: { mediaType: OCI_CONFIG, ...this.putBlob(Buffer.from(JSON.stringify(config))) },
      layers: layers.map((bytes) => ({ mediaType: options.layerType ?? OCI_LAYER, ...this.putBlob(bytes) })),
      ...options.manifest,
    }
    return this.putManifest(manifest, type, options.tag ?? 'latest')
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const [, kind, name] = /\/(manifests|blobs)\/([^/?]+)/.exec(request.url ?? '') ?? []
    const manifest = kind === 'manifests' ? this.manifests.get(name ?? '') : undefined
    const bytes = manifest?.bytes ?? (kind === 'blobs' ? this.blobs.get(name ?? '') : undefined)
    if (bytes === undefined) {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"errors":[{"code":"NOT_FOUND"}]}')
      return
    }
    const headers: Record<string, string | number> = {
      'content-type': manifest?.type ?? 'application/octet-stream',
    }
    if (manifest !== undefined) headers['docker-content-digest'] = sha256(bytes)
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    if (from > 0) headers['content-range'] = `bytes ${from}-${bytes.length - 1}/${bytes.length}`
    headers['content-length'] = bytes.length - from
    response.writeHead(from > 0 ? 206 : 200, headers)
    response.end(request.method === 'HEAD' ? undefined : bytes.subarray(from))
  }
}

interface ImageOptions {
  tag?: string
  diffIds?: string[]
  layerType?: string
  config?: Record<string, unknown>
  manifest?: Record<string, unknown>
}

const OCI_CONFIG = 'application/vnd.oci.image.config.v1+json'
const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar'

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}

/** Refuses whoever comes without this login. */
export function admitting(user: string, password: string): Handler {
  return ({ headers }, response) => {
    if (headers.authorization === basic(user, password)) return false
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    return true
  }
}
