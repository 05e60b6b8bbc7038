// SPDX-License-Identifier: Apache-2.0
/** A proxy before the registry that stops in the middle of layers, so that a test can act while an import runs. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, request, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeLayout } from './layout.js'
import type { Registry } from './registry.js'
import { makeTar, type TarEntry } from './tar.js'
import type { Undo } from './undo.js'

/** So much of each blob passes before the gate: enough for the importer to have begun writing. */
const BYTES_BEFORE_GATE = 256 * 1024
const NOISE_BYTES = 1 << 20

export interface Throttle {
  readonly host: string
  /** Blob transfers that wait at the gate now; a client that hung up does not count. */
  held(): number
  /** Lets all pass, now and later. */
  open(): void
  /** Holds transfers from now on. */
  close(): void
}

export async function startThrottle(target: string, undo: Undo): Promise<Throttle> {
  let isOpen = false
  const waiting = new Map<ServerResponse, () => void>()
  const server = createServer((incoming, outgoing) => {
    const upstream = request(
      `http://${target}${incoming.url ?? '/'}`,
      { method: incoming.method, headers: incoming.headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        const gated =
          (incoming.url ?? '').includes('/blobs/') &&
          Number(answer.headers['content-length']) > BYTES_BEFORE_GATE
        let passed = 0
        answer.on('data', (bytes: Buffer) => {
          outgoing.write(bytes)
          passed += bytes.length
          if (gated && !isOpen && passed >= BYTES_BEFORE_GATE && !waiting.has(outgoing)) {
            answer.pause()
            waiting.set(outgoing, () => answer.resume())
          }
        })
        answer.on('end', () => outgoing.end())
        outgoing.on('close', () => {
          waiting.delete(outgoing)
          answer.destroy()
        })
      },
    )
    upstream.on('error', () => outgoing.destroy())
    incoming.pipe(upstream)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  undo.push('throttle', () => {
    server.closeAllConnections()
    server.close()
  })
  return {
    host: `127.0.0.1:${port}`,
    held: () => waiting.size,
    open: () => {
      isOpen = true
      for (const resume of waiting.values()) resume()
      waiting.clear()
    },
    close: () => {
      isOpen = false
    },
  }
}

let flavours = 0

/** Pushes an image that no store has yet: busybox and a file of noise, beyond the gate. */
export function pushSlowImage(registry: Registry, name: string): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-registry-layout-'))
  const program: TarEntry = { name: 'bin/busybox', mode: 0o755, content: readFileSync('/bin/busybox') }
  const links = ['sh', 'echo', 'true', 'touch'].map(
    (applet): TarEntry => ({ name: `bin/${applet}`, type: '2', link: 'busybox' }),
  )
  const noise = makeTar([{ name: `noise-${flavours++}`, content: randomBytes(NOISE_BYTES) }])
  writeLayout(dir, { layers: [makeTar([program, ...links]), noise] })
  return registry.push(dir, name).finally(() => rmSync(dir, { recursive: true }))
}
