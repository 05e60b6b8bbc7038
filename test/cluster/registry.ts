// SPDX-License-Identifier: Apache-2.0
/** Debian's docker-registry on a free loopback port, with its log readable by tests ("was it pulled once?"). */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { must, until } from './command.js'
import { freePorts, startDaemon } from './daemon.js'
import type { Undo } from './undo.js'

export interface Registry {
  /** 127.0.0.1:PORT */
  readonly host: string
  /** Copies an OCI layout directory to NAME:TAG here; answers the full reference. */
  push(layout: string, name: string, extra?: readonly string[]): Promise<string>
  /** Requests seen since the last `forget`, as `METHOD /v2/…`; one is seen a moment after its answer. */
  requests(): string[]
  /** How often a blob was fetched since then, once at least: waits for the first time. */
  fetches(digest: string): Promise<number>
  forget(): void
  /** Digest of the manifest of NAME:TAG. */
  digest(reference: string): Promise<string>
  /** Digests of the layers of NAME:TAG, lowest first. */
  layers(reference: string): Promise<string[]>
  /** Replaces a stored blob's bytes: the registry then serves what does not match its digest. */
  corrupt(digest: string, change: 'flip' | 'truncate'): void
}

interface RegistryOptions {
  outlive?: boolean
  /** Lines of an htpasswd file (bcrypt): only these users may push and pull. */
  users?: readonly string[]
  /** A free one unless given. */
  port?: number
}

export async function startRegistry(undo: Undo, options: RegistryOptions = {}): Promise<Registry> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-registry-'))
  undo.push('registry directory', () => rmSync(dir, { recursive: true, force: true }))
  const port = options.port ?? (await freePorts(1))[0] ?? 0
  const host = `127.0.0.1:${port}`
  const config = join(dir, 'config.yml')
  const log = join(dir, 'log')
  mkdirSync(join(dir, 'data'))
  writeFileSync(join(dir, 'htpasswd'), (options.users ?? []).map((line) => `${line}\n`).join(''))
  writeFileSync(config, registryConfig(host, dir, options.users !== undefined))
  const daemon = startDaemon('registry', ['docker-registry', 'serve', config], log, {
    ...options,
    directory: dir,
  })
  undo.push('registry', () => daemon.stop())
  await until('registry', () => answers(`http://${host}/v2/`))
  let forgotten = 0
  const requests = () => readRequests(readFileSync(log, 'utf8').slice(forgotten))
  const inspect = async (reference: string): Promise<{ Digest: string; Layers: string[] }> => {
    const seen = await must(['skopeo', 'inspect', '--tls-verify=false', `docker://${reference}`])
    return JSON.parse(seen.stdout) as { Digest: string; Layers: string[] }
  }
  return {
    host,
    push: async (layout, name, extra = []) => {
      const to = `docker://${host}/${name}`
      await must(['skopeo', 'copy', '-q', '--dest-tls-verify=false', ...extra, `oci:${layout}`, to])
      return `${host}/${name}`
    },
    requests,
    fetches: async (digest) => {
      const seen = () => requests().filter((line) => line.startsWith('GET') && line.endsWith(digest)).length
      await until(`${digest} in the registry's log`, () => seen() > 0)
      return seen()
    },
    forget: () => {
      forgotten = statSync(log).size
    },
    digest: async (reference) => (await inspect(reference)).Digest,
    layers: async (reference) => (await inspect(reference)).Layers,
    corrupt: (digest, change) => corruptBlob(join(dir, 'data'), digest, change),
  }
}

function registryConfig(host: string, dir: string, closed: boolean): string {
  return [
    'version: 0.1',
    'log: {level: warn, accesslog: {disabled: false}}',
    'storage:',
    `  filesystem: {rootdirectory: '${join(dir, 'data')}'}`,
    '  delete: {enabled: true}',
    `http: {addr: '${host}'}`,
    ...(closed ? [`auth: {htpasswd: {realm: lab, path: '${join(dir, 'htpasswd')}'}}`] : []),
    '',
  ].join('\n')
}

function answers(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(url, (response) => {
      response.resume()
      resolve(response.statusCode === 200 || response.statusCode === 401)
    })
    request.on('error', () => resolve(false))
  })
}

/** The access log is in Apache's combined format. */
function readRequests(log: string): string[] {
  return [...log.matchAll(/"(GET|HEAD|POST|PUT|PATCH) (\/v2\/\S*) HTTP/g)].map(
    (match) => `${match[1]} ${match[2]}`,
  )
}

function corruptBlob(data: string, digest: string, change: 'flip' | 'truncate'): void {
  const hex = digest.replace('sha256:', '')
  const file = join(data, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data')
  if (!existsSync(file)) throw new Error(`the registry has no blob ${digest}`)
  if (change === 'truncate') {
    truncateSync(file, Math.floor(statSync(file).size / 2))
    return
  }
  const bytes = readFileSync(file)
  const at = Math.floor(bytes.length / 2)
  bytes[at] = (bytes[at] ?? 0) ^ 0xff
  writeFileSync(file, bytes)
}
