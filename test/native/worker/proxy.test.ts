// SPDX-License-Identifier: Apache-2.0
/** Registries that a node without a way of its own asks through the site's proxy. */
import { deepEqual, equal, match } from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { suite } from '../../suite.js'
import { MoodyRegistry } from './moody_registry.js'
import { missingForNode, TestNode, UID } from './node.js'

const test = suite('a proxy for registries')
const missing = missingForNode()
/** A name that no resolver knows (RFC 6761). */
const HOST = 'registry.invalid:80'
let registry: MoodyRegistry
let proxy: LoopbackProxy

/** Leads every CONNECT to one port of this machine, and notes for whom it was asked, with which credentials. */
class LoopbackProxy {
  readonly asked: string[] = []
  private readonly server: Server
  private readonly open = new Set<Socket>()

  constructor(port: number) {
    this.server = createServer((client) => {
      this.keep(client)
      client.once('data', (head) => {
        const words = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head.toString())
        const login = /^proxy-authorization: Basic (\S+)/im.exec(head.toString())?.[1] ?? ''
        this.asked.push(`${words?.[1]} ${Buffer.from(login, 'base64')}`)
        const far = connect(port, '127.0.0.1', () => client.write('HTTP/1.1 200 OK\r\n\r\n'))
        this.keep(far)
        far.pipe(client).pipe(far)
      })
    })
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`
  }

  stop(): void {
    this.server.close()
    for (const socket of this.open) socket.destroy()
  }

  private keep(socket: Socket): void {
    this.open.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.open.delete(socket))
  }
}

async function withSettings(lines: string, body: (node: TestNode, config: string) => Promise<void>) {
  const config = join('/run', `berth-test-${process.pid}.conf`)
  writeFileSync(config, `registries_insecure = ${HOST}\n${lines}\n`)
  const node = new TestNode({ config })
  try {
    node.startKeeper()
    await body(node, config)
  } finally {
    equal((await node.stop()).join('\n'), '')
    rmSync(config)
  }
}

async function run(node: TestNode, image: string): Promise<{ status: number | undefined; stderr: string }> {
  const step = node.step({ options: [`container-image=${image}`], command: ['true'] })
  const [status] = await step.run()
  return { status, stderr: step.stderr }
}

let address = ''
test.before(async () => {
  registry = await MoodyRegistry.start()
  proxy = new LoopbackProxy(Number(/:(\d+)\//.exec(registry.image())?.[1]))
  address = await proxy.start()
})
test.after(() => {
  proxy.stop()
  registry.stop()
})

test.needs(missing, 'berth.conf names it: a registry is asked through it, loopback never is', () =>
  withSettings(`registry_proxy = http://site:word@${address}`, async (node) => {
    const through = await run(node, `${HOST}/moody/image:1`)
    equal(through.status, 0, through.stderr)
    deepEqual([...new Set(proxy.asked)], [`${HOST} site:word`])
    const before = proxy.asked.length
    equal((await run(node, registry.image('direct'))).status, 0)
    equal(proxy.asked.length, before)
  }),
)

test.needs(missing, 'but not those of registry_no_proxy', () =>
  withSettings(
    `registry_proxy = http://${address}\nregistry_no_proxy = .invalid, 10.0.0.0/8`,
    async (node) => {
      const before = proxy.asked.length
      const direct = await run(node, `${HOST}/moody/image:1`)
      equal(direct.status, 125)
      match(direct.stderr, /registry\.invalid/)
      equal(proxy.asked.length, before)
    },
  ),
)

test.needs(missing, 'one that is no URL is told with its line', () =>
  withSettings('registry_proxy = proxy.site', async (node, config) => {
    const words = `${config}:2: registry_proxy: should be http://[USER:PASSWORD@]HOST[:PORT]`
    const { status, stderr } = node.cliAs(UID, 'run', node.image, '--', 'true')
    equal(status, 125)
    equal(stderr.includes(`BERTH_ESITE]: ${words}`), true, stderr)
    const checked = node.cli('check', `--config=${config}`)
    equal(checked.status, 3)
    equal(checked.stderr.includes(words), true, checked.stderr)
  }),
)

test.run()
