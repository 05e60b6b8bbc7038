// SPDX-License-Identifier: Apache-2.0
/** HTTPS in front of a plain registry, for peers that speak nothing else. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Undo } from '../cluster/undo.js'

/** HOST:PORT with a certificate that nobody trusts; all requests go to `plain`. */
export async function startTlsFront(plain: string, undo: Undo): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'berth-tls-'))
  const [key, cert] = [join(dir, 'key'), join(dir, 'cert')]
  const how = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=localhost']
  execFileSync('openssl', ['req', ...how, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (asked, answer) => {
    const { method, headers, url } = asked
    const inner = request(`http://${plain}${url}`, { method, headers }, (reply) => {
      answer.writeHead(reply.statusCode ?? 502, reply.headers)
      reply.pipe(answer)
    })
    asked.pipe(inner)
  })
  rmSync(dir, { recursive: true })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  undo.push('TLS front', async () => {
    server.close()
    server.closeAllConnections()
  })
  return `localhost:${(server.address() as AddressInfo).port}`
}
