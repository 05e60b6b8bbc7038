// SPDX-License-Identifier: Apache-2.0
/** A store of its own with real importers, and what the tests need to look at it from outside. */
import { execFileSync } from 'node:child_process'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StoredImage } from '../../../src/image/image.js'
import { parseReference } from '../../../src/image/reference.js'
import type { Native } from '../../../src/native.js'
import { type Access, type ImportProgress, Store, type StoreOptions } from '../../../src/store/store.js'
import { type FakeRegistry, sha256 } from '../../registry.js'

/** Another build than the checkout's can be tried. */
export const DIST = process.env.BERTH_TEST_DIST ?? join(import.meta.dirname, '../../../dist')
const NOBODY = { uid: 65534, gid: 65534 }
const WAIT_MS_MAX = 60_000

/** What keeps these tests from running here; undefined: nothing. */
export function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root'
  if (!existsSync(join(DIST, 'berth.node'))) return 'needs npm run build'
  return undefined
}

export function loadNative(): Native {
  return createRequire(import.meta.url)(join(DIST, 'berth.node')) as Native
}

/** Some user without an account; readable files are all that matters. */
export const ALICE: Access = { uid: 20_001, gid: 20_001, gids: [], cwd: '/', env: { HOME: '/nonexistent' } }
export const BOB: Access = { ...ALICE, uid: 20_002, gid: 20_002 }

export class Lab {
  readonly folder = mkdtempSync(join(tmpdir(), 'berth-import-'))
  readonly native = loadNative()
  readonly directory = join(this.folder, 'store')
  private readonly stores: Store[] = []
  private homes = 0

  async open(options: Partial<StoreOptions> = {}): Promise<Store> {
    const store = await Store.open({
      directory: this.directory,
      importerUser: NOBODY,
      ...{ compressor: 'zstd', level: 1, blockSize: 131_072, threads: 2 },
      ...{ bytesMax: 2 ** 33, entriesMax: 100_000, quotaBytes: 0, freeFloorBytes: 0 },
      ...{ tagTtlSeconds: 2, distDir: DIST, native: this.native },
      ...options,
    })
    this.stores.push(store)
    return store
  }

  /** A directory that every user may read. */
  publicFolder(name: string): string {
    const path = join(this.folder, name)
    mkdirSync(path, { recursive: true })
    execFileSync('chmod', ['755', this.folder, path])
    return path
  }

  /** That user with a login of their own for a registry, which nobody else can read. */
  withLogin(
    access: Access,
    host: string,
    username: string,
    password: string,
  ): Access & Required<Pick<Access, 'env'>> {
    const home = this.publicFolder(`home${this.homes++}`)
    const file = join(home, 'auth.json')
    writeFileSync(file, JSON.stringify({ auths: { [host]: { username, password } } }), { mode: 0o600 })
    chownSync(file, access.uid, access.gid)
    return { ...access, env: { REGISTRY_AUTH_FILE: file, HOME: home } }
  }

  /** Files that the store has now, without those of images that are complete. */
  leftovers(): string[] {
    const names = readdirSync(this.directory, { recursive: true }).map(String)
    const complete = /^(images|tmp|facts|containers(\/\.(new|trash))?|(images|facts)\/[\w-]+\.(sqsh|json))$/
    const isOrphan = (name: string) =>
      name.startsWith('facts/sha256-') && !names.includes(name.replace('facts/', 'images/'))
    return names.filter((name) => !complete.test(name) || isOrphan(name))
  }

  async closeStores(): Promise<void> {
    for (const store of this.stores.splice(0)) await store.close()
  }

  async close(): Promise<void> {
    await this.closeStores()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export async function pull(
  store: Store,
  name: string,
  access: Access = ALICE,
  more: { signal?: AbortSignal; progress?: (progress: ImportProgress) => void } = {},
): Promise<StoredImage> {
  const reference = parseReference(name)
  const { digest } = await store.resolve(reference, access)
  return store.ensure(reference, digest, { access, ...more })
}

/** Path, type and content of everything in a squashfs, as another program reads it. */
export function listImage(path: string): Record<string, string> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-unpacked-'))
  try {
    execFileSync('unsquashfs', ['-q', '-n', '-f', '-d', folder, path], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const found: Record<string, string> = {}
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      const full = join(entry.parentPath, entry.name)
      const name = full.slice(folder.length + 1)
      if (entry.isFile()) found[name] = readFileSync(full, 'latin1').slice(0, 100)
      else found[name] = entry.isSymbolicLink() ? `-> ${readlinkSync(full)}` : '/'
    }
    return found
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Importers that this process has started, by pid. */
export function importers(): number[] {
  return children('importer.js')
}

/** Children of this process by words of their command line. */
export function children(...words: string[]): number[] {
  const pids = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8').trim().split(/\s+/)
  return pids.map(Number).filter((pid) => {
    try {
      const command = pid > 0 ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : ''
      return command !== '' && words.every((word) => command.includes(word))
    } catch {
      return false
    }
  })
}

export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + WAIT_MS_MAX
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${WAIT_MS_MAX} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Loop devices over files of this lab; others on the machine come and go meanwhile. */
export function loopDevices(lab: Lab): string[] {
  return readdirSync('/sys/block').filter((name) => {
    try {
      return readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').startsWith(lab.folder)
    } catch {
      return false
    }
  })
}

/** Sends half of the layer, then the rest when told. */
export function stall(registry: FakeRegistry, layer: Buffer): () => void {
  const held: (() => void)[] = []
  const handler: (typeof registry.before)[number] = (request, response) => {
    if (request.method !== 'GET' || request.url?.includes(sha256(layer)) !== true) return false
    response.writeHead(200, { 'content-length': layer.length })
    response.write(layer.subarray(0, 1_000_000))
    held.push(() => response.end(layer.subarray(1_000_000)))
    return true
  }
  registry.before.push(handler)
  return () => {
    registry.before.splice(registry.before.indexOf(handler), 1)
    for (const go of held) go()
  }
}
