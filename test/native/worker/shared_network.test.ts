// SPDX-License-Identifier: Apache-2.0
/** Nodes with one shared store on a network file system, each with a mount and a server process of its own. */
import { deepEqual, equal, match } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { childrenOf, loopDevices } from '../../cluster/leftovers.js'
import { makeTar } from '../../cluster/tar.js'
import { FakeRegistry, sha256 } from '../../registry.js'
import { suite } from '../../suite.js'
import { missingForNetwork, NetworkMount } from '../network_mount.js'
import { missingForNode, TestNode } from './node.js'
import { until } from './until.js'

const test = suite('shared store on a network file system')
const missing = missingForNode() ?? missingForNetwork()
const BUSYBOX = { name: 'busybox', mode: 0o755, content: readFileSync('/bin/busybox') }
/** Each is the one layer of an image. */
const LAYERS = [1, 2].map((tag) =>
  makeTar([BUSYBOX, { name: 'data', content: Buffer.alloc(500_000, `berth ${tag}`) }]),
)
let base: string
let exported: string
let registry: FakeRegistry
const mounts: NetworkMount[] = []
const nodes: TestNode[] = []
/** What lets those go on who have half of a layer; undefined: all go at once. */
let held: (() => void)[] | undefined

test.before(async () => {
  if (missing !== undefined) return
  base = mkdtempSync('/run/berth-network-')
  chmodSync(base, 0o755)
  exported = join(base, 'exported')
  mkdirSync(exported)
  registry = await FakeRegistry.start()
  for (const [index, layer] of LAYERS.entries()) {
    registry.putImage([layer])
    registry.manifests.set(
      `${index + 1}`,
      registry.manifests.get('latest') as { bytes: Buffer; type: string },
    )
  }
  registry.before.push((request, response) => {
    const layer = LAYERS.find((one) => request.url?.includes(sha256(one)))
    if (held === undefined || request.method !== 'GET' || layer === undefined) return false
    response.writeHead(200, { 'content-length': layer.length })
    response.write(layer.subarray(0, 400_000))
    held.push(() => response.end(layer.subarray(400_000)))
    return true
  })
  for (const use of ['copy', 'mount']) {
    const mount = await NetworkMount.start(exported, join(base, use))
    const node = new TestNode({ shared_store: mount.path, shared_use: use })
    mounts.push(mount)
    nodes.push(node)
    node.startKeeper()
  }
})

test.after(async () => {
  if (missing !== undefined) return
  for (const mount of mounts) mount.goOn()
  const left = []
  for (const node of nodes) left.push(...(await node.stop()))
  deepEqual(left, [])
  await until('no loop device', () => loopDevices(base).length === 0)
  for (const mount of mounts) await mount.stop()
  await registry.stop()
  rmSync(base, { recursive: true, force: true })
})

const image = (tag: number) => `${registry.host}/lab/busybox:${tag}`
const gets = (tag: number) =>
  registry.asked.filter(
    ({ method, url }) => method === 'GET' && url.includes(sha256(LAYERS[tag - 1] as Buffer)),
  ).length
const files = (folder: string) => readdirSync(join(exported, folder))

function nodeOf(use: 'copy' | 'mount'): { node: TestNode; mount: NetworkMount } {
  const index = use === 'copy' ? 0 : 1
  return { node: nodes[index] as TestNode, mount: mounts[index] as NetworkMount }
}

async function runs(node: TestNode, name: string): Promise<void> {
  const said = node.startEcho(name)
  equal(await said.status, 0, said.text)
  match(said.text, /inside/)
}

async function published(count: number): Promise<void> {
  await until('the publication', () => files('images').length === 2 * count && files('leases').length === 0)
}

/** Kills the worker and its sharer, as the end of a node does. */
async function killWorker(node: TestNode): Promise<void> {
  const worker = await node.workerPid()
  for (const pid of [...childrenOf(worker, 'sharer.js'), worker]) process.kill(pid, 'SIGKILL')
}

test.needs(
  missing,
  'a server that hangs: the step says so and goes on with it, others do not wait',
  async () => {
    const { node, mount } = nodeOf('copy')
    mount.hang()
    const waiting = node.startEcho(image(1))
    await until('word of it', () => waiting.text.includes('waiting for the shared store'))
    match(waiting.text, new RegExp(`waiting for the shared store ${mount.path}, which does not answer\n`))
    const other = node.step({ command: ['cat', '/etc/inside'] })
    deepEqual(await other.run(), [0])
    equal(other.stdout, 'berth-test\n')
    other.end()
    mount.goOn()
    equal(await waiting.status, 0, waiting.text)
    match(waiting.text, /inside/)
    await published(1)
    equal(gets(1), 1)
  },
)

test.needs(missing, 'what one node has published another mounts from there', async () => {
  const { node, mount } = nodeOf('mount')
  const said = node.startEcho(image(1))
  equal(await said.status, 0, said.text)
  equal(gets(1), 1)
  match(loopDevices(mount.path).join(), /images\/sha256-/)
  deepEqual(
    readdirSync(join(node.store, 'images')).filter((name) => name.endsWith('.sqsh')),
    [],
  )
})

test.needs(missing, 'what is mounted from a server that hangs is handed out when it answers', async () => {
  const { node, mount } = nodeOf('mount')
  const options = [`container-image=${image(1)}`]
  const user = node.step({ options, command: ['/busybox', 'sh', '-c', 'echo runs; exec /busybox sleep 600'] })
  user.start(0)
  await user.sees('runs')
  // What the copy reads of it has to come from there, and by root: this file system lets nobody else in.
  mount.hang()
  const { command, args, options: how } = node.cliCommand(0, 'importer', 'get', image(1))
  const get = spawn(command, args, { ...how, env: { ...how.env, SLURM_JOB_ID: '9', SLURM_STEP_ID: '0' } })
  const status = new Promise((done) => get.on('close', done))
  let said = ''
  get.stderr.on('data', (text: Buffer) => {
    said += text
  })
  const handed = join(node.store, 'handed', '0')
  await until('its file', () => existsSync(handed) && readdirSync(handed).length === 1)
  const other = node.step({ command: ['cat', '/etc/inside'] })
  deepEqual(await other.run(), [0])
  other.end()
  mount.goOn()
  equal(await status, 0, said)
  user.kill()
})

test.needs(missing, 'two nodes at once, and the one that imports dies: the other takes over', async () => {
  const [one, two] = [nodeOf('copy').node, nodeOf('mount').node]
  held = []
  const lost = one.startEcho(image(2))
  await until('half of the layer', () => gets(2) === 1)
  const other = two.startEcho(image(2))
  await until('the wait', () => /waiting for [\w.-]+, which imports/.test(other.text))
  await killWorker(one)
  await until('another import', () => gets(2) === 2)
  for (const go of held) go()
  held = undefined
  equal(await other.status, 0, other.text)
  match(other.text, /inside/)
  await lost.status
  await published(2)
  await runs(one, image(2))
  equal(gets(2), 2)
})

test.needs(missing, 'a file that was damaged there is not used, and made anew', async () => {
  const { node } = nodeOf('copy')
  equal(node.cli('rm', image(1), image(2)).status, 0)
  const names = files('images').filter((name) => name.endsWith('.sqsh'))
  const whole = names.map((name) => readFileSync(join(exported, 'images', name)))
  for (const [index, name] of names.entries()) {
    const bytes = Buffer.from(whole[index] as Buffer)
    bytes.writeUInt8(bytes.readUInt8(5000) ^ 0x40, 5000)
    writeFileSync(join(exported, 'images', name), bytes)
  }
  await runs(node, image(1))
  equal(gets(1), 2)
  match(node.log, /was damaged and is removed there; it is imported anew/)
  await runs(node, image(2))
  equal(gets(2), 3)
  await published(2)
  for (const [index, name] of names.entries())
    equal(readFileSync(join(exported, 'images', name)).equals(whole[index] as Buffer), true)
})

test.run()
