// SPDX-License-Identifier: Apache-2.0
/** Two workers with one shared store, and the commands that an operator has for both kinds of stores. */
import { deepEqual, equal, match } from 'node:assert/strict'
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
import { makeTar } from '../../cluster/tar.js'
import { FakeRegistry, sha256 } from '../../registry.js'
import { suite } from '../../suite.js'
import { missingForNode, TestNode } from './node.js'
import { UID } from './stand_in.js'
import { until } from './until.js'

const test = suite('shared store and scrub')
const missing = missingForNode()
const LAYER = makeTar([
  { name: 'busybox', mode: 0o755, content: readFileSync('/bin/busybox') },
  { name: 'data', content: Buffer.alloc(500_000, 'berth') },
])
let shared: string
let registry: FakeRegistry
let one: TestNode
let two: TestNode
let image: string
let held: (() => void)[] | undefined = []

test.before(async () => {
  if (missing !== undefined) return
  shared = mkdtempSync('/run/berth-shared-')
  registry = await FakeRegistry.start()
  registry.putImage([LAYER])
  registry.before.push((request, response) => {
    if (held === undefined || request.method !== 'GET' || !request.url?.includes(sha256(LAYER))) return false
    response.writeHead(200, { 'content-length': LAYER.length })
    response.write(LAYER.subarray(0, 400_000))
    held.push(() => response.end(LAYER.subarray(400_000)))
    return true
  })
  image = `${registry.host}/lab/busybox:1`
  registry.manifests.set('1', registry.manifests.get('latest') as { bytes: Buffer; type: string })
  one = new TestNode({ shared_store: shared })
  two = new TestNode({ shared_store: shared, shared_use: 'mount' })
  for (const node of [one, two]) node.startKeeper()
})

test.after(async () => {
  if (missing !== undefined) return
  deepEqual([await one.stop(), await two.stop()].flat(), [])
  await registry.stop()
  rmSync(shared, { recursive: true, force: true })
})

const gets = () =>
  registry.asked.filter(({ method, url }) => method === 'GET' && url.includes(sha256(LAYER))).length
const files = (folder: string) => (existsSync(join(shared, folder)) ? readdirSync(join(shared, folder)) : [])

async function runs(node: TestNode): Promise<void> {
  const said = node.startEcho(image)
  equal(await said.status, 0, said.text)
}

test.needs(
  missing,
  'a worker killed in the middle: the other node takes over, and the first copies',
  async () => {
    const lost = one.startEcho(image)
    await until('half of the layer', () => gets() === 1)
    const other = two.startEcho(image)
    await until('the wait', () => /waiting for [\w.-]+, which imports/.test(other.text))
    process.kill(await one.workerPid(), 'SIGKILL')
    await until('another import', () => gets() === 2)
    for (const go of held ?? []) go()
    held = undefined
    equal(await other.status, 0, other.text)
    match(other.text, /inside/)
    await lost.status
    await until('the publication', () => files('images').length === 2 && files('leases').length === 0)
    const again = one.startEcho(image)
    equal(await again.status, 0, again.text)
    equal(gets(), 2)
  },
)

test.needs(missing, 'pinned images stay; only root pins', () => {
  equal(one.cliAs(UID, 'pin', image).status, 1)
  match(one.cliAs(UID, 'scrub').stderr, /berth scrub is for root only/)
  equal(one.cli('pin', image).status, 0)
  match(one.cli('images').stdout, /lab\/busybox:1 .* yes\n/)
  equal(one.cli('gc', '--all').stdout, '')
  equal(one.cli('unpin', image).status, 0)
  match(one.cli('images').stdout, /lab\/busybox:1 .* -\n/)
})

test.needs(missing, 'scrub finds what has changed and the next step imports it anew', async () => {
  const whole = one.cli('scrub')
  equal(whole.status, 0, whole.stderr)
  match(whole.stdout, /lab\/busybox:1 .* ok\n/)
  const [name = ''] = readdirSync(join(one.store, 'images')).filter((file) => file.endsWith('.sqsh'))
  const path = join(one.store, 'images', name)
  const bytes = readFileSync(path)
  const flip = (file: string, at: number) => {
    const changed = Buffer.from(bytes)
    changed.writeUInt8(changed.readUInt8(at) ^ 0x40, at)
    writeFileSync(file, changed)
  }
  // In the padding, where no reader looks.
  flip(path, bytes.length - 1)
  equal(one.cli('scrub', image, '--keep').status, 3)
  const damaged = one.cli('scrub', image)
  equal(damaged.status, 3)
  match(damaged.stdout, /damaged .*bytes have changed.*; removed\n/)
  const file = join(shared, 'images', name)
  flip(file, 5000)
  const there = one.cli('scrub', '--shared')
  equal(there.status, 3, there.stderr)
  match(there.stdout, /damaged .*; removed\n/)
  deepEqual(files('images'), [])
  await runs(one)
  equal(gets(), 3)
  await until('the publication', () => files('images').length === 2 && files('leases').length === 0)
  equal(readFileSync(file).equals(bytes), true)
  equal(one.cli('scrub', '--shared').status, 0)
  await runs(two)
})

test.needs(missing, 'gc --shared wants a time, and removes what nobody has used for it', () => {
  match(one.cli('gc', '--shared').stderr, /wants --unused/)
  match(one.cli('gc', '--shared', '--unused=1h').stderr, /at least 1d/)
  equal(one.cli('gc', '--shared', '--unused=1d').stdout, '')
  match(one.cli('images', '--shared').stdout, /lab\/busybox:1 /)
})

test.needs(missing, 'what is gone there is imported anew', async () => {
  await runs(two)
  for (const name of files('images')) rmSync(join(shared, 'images', name))
  await runs(two)
})

test.needs(missing, 'a directory that users can write is refused, with the way to mend it', () => {
  const config = join(one.dir, 'berth.conf')
  const open = join(one.dir, 'open')
  mkdirSync(open)
  chmodSync(open, 0o777)
  writeFileSync(config, `shared_store = ${open}\n`)
  const check = one.cli('check', `--config=${config}`)
  equal(check.status, 3)
  match(check.stderr, /BERTH_ESHARED[\s\S]*open can be written by others[\s\S]*hint: chmod go-w/)
  match(
    one.cli('doctor', `--config=${config}`).stdout,
    /fail {2}shared store .*open can be written[\s\S]*chmod go-w/,
  )
  chmodSync(open, 0o755)
  equal(one.cli('check', `--config=${config}`).status, 0)
  match(one.cli('doctor', `--config=${config}`).stdout, /ok {4}shared store .*images are copied/)
})

test.run()
