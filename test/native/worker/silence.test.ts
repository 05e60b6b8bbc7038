// SPDX-License-Identifier: Apache-2.0
/** What a user is shown while a registry does not answer, or docker saves an image. */
import { deepEqual, equal, match } from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createPlainServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { makeTar } from '../../cluster/tar.js'
import { suite } from '../../suite.js'
import { MoodyRegistry } from './moody_registry.js'
import { missingForNode, TestNode, UID } from './node.js'
import { until } from './until.js'

const test = suite('silence')
const missing = missingForNode()
const TIME = / in \d+\.\d s \(\d+ \w+\)$/
let node: TestNode
/** Of an image each. */
let registry: MoodyRegistry
let other: MoodyRegistry
/** Lets all wait who want to leave this machine. */
let proxy: Server
const held: Socket[] = []

async function portOf(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

test.before(async () => {
  if (missing !== undefined) return
  proxy = createPlainServer((socket) => held.push(socket.on('error', () => undefined)))
  node = new TestNode({ tag_ttl: '0', registry_proxy: `http://127.0.0.1:${await portOf(proxy)}` })
  node.startKeeper()
  registry = await MoodyRegistry.start()
  other = await MoodyRegistry.start()
})
test.after(async () => {
  if (missing !== undefined) return
  registry.stop()
  other.stop()
  proxy.close()
  equal((await node.stop()).join('\n'), '')
})

function linesOf(text: string): string[] {
  return text
    .trim()
    .split('\n')
    .map((line) => line.replace(TIME, ''))
}

function asked(registry: MoodyRegistry): string {
  return `berth: asking ${registry.image().split('/')[0]} …`
}

test.needs(
  missing,
  'a registry that answers at once is not named; one that does not is, for as long',
  async () => {
    const image = registry.image()
    const options = [`container-image=${image}`]
    const quick = node.step({ options, command: ['cat', '/etc/inside'] })
    deepEqual(await quick.run(), [0])
    deepEqual(linesOf(quick.stderr), [`berth: importing ${image} …`, `berth: imported ${image}`])
    quick.end()
    registry.turn('stall')
    const slow = node.step({ options, command: ['cat', '/etc/inside'] })
    slow.start(0, 1)
    await slow.sees(`${asked(registry)}\n`)
    await slow.sees(`${asked(registry)} no answer for `)
    registry.turn('answer')
    deepEqual([await slow.exit(0), await slow.exit(1)], [0, 0])
    equal(slow.stdout, 'moody\nmoody\n')
    // The image is there: nothing else is said, and by one of both.
    match(slow.stderr, /^berth: asking \S+ …\n(berth: asking \S+ … no answer for \d+ s\n)+$/)
    slow.end()
  },
)

test.needs(missing, 'before an import too, and on a terminal the line goes', async () => {
  const image = other.image()
  other.turn('stall')
  const pull = pullInTerminal(image)
  const step = node.step({ options: [`container-image=${image}`] })
  step.start(0)
  await step.sees(`${asked(other)}\n`)
  await until(`the line in ${pull.text}`, () => pull.text.includes(`\r${asked(other)} no answer for `))
  other.turn('answer')
  equal(await step.exit(), 0)
  step.end()
  equal(await pull.status, 0)
  deepEqual(
    linesOf(step.stderr).filter((line) => !line.includes('no answer')),
    [asked(other), `berth: importing ${image} …`, `berth: imported ${image}`],
  )
  const shown = pull.text.replaceAll('\u001b[K', '<K>')
  match(shown, /no answer for \d s<K>[\s\S]*\r<K>(berth: imported |sha256:)/)
})

function pullInTerminal(image: string): { text: string; status: Promise<number | null> } {
  const { command, args } = node.cliCommand(UID, 'pull', image)
  const words = `stty cols 100; exec ${[command, ...args].join(' ')}`
  const child = spawn('script', ['-qefc', words, '/dev/null'], {
    ...{ cwd: '/', env: node.environment() },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { text: '', status: new Promise<number | null>((done) => child.on('close', done)) }
  child.stdout.on('data', (text: Buffer) => {
    said.text += text
  })
  return said
}

test.needs(missing, 'a registry that refuses in the end has its error after the line', async () => {
  registry.turn('stall')
  const step = node.step({ options: [`container-image=${registry.image('none')}`] })
  step.start(0)
  await step.sees(`${asked(registry)}\n`)
  registry.turn('refuse')
  equal(await step.exit(), 125)
  match(step.stderr, /^berth: asking .*\n(berth: asking .*\n)*berth: error\[BERTH_EIMAGENOTFOUND\]/)
  step.end()
})

test.needs(missing, 'a host of odd characters, to which a registry sends us, ends no import', async () => {
  const strange = createServer((_, response) => {
    response.writeHead(307, { location: `https://a!\u00e9$(b)${'c'.repeat(400)}/v2/` }).end()
  })
  const image = `127.0.0.1:${await portOf(strange)}/moody/image:1`
  const step = node.step({ options: [`container-image=${image}`] })
  step.start(0)
  await step.sees('berth: asking xn--a?')
  for (const socket of held.splice(0)) socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
  equal(await step.exit(), 125)
  match(step.stderr, /^(berth: asking [\w?-]{300} .*\n)+berth: error\[BERTH_EREGISTRY\]/)
  step.end()
  strange.close()
})

/** A docker with one image that it saves in two halves, the second when somebody says so. */
function fakeDocker(): { path: string; goOn(): void } {
  const place = join(node.dir, 'docker')
  mkdirSync(place)
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
  const layer = makeTar([
    { name: 'bin/', type: '5' },
    { name: 'noise', content: Buffer.alloc(4 << 20, 'noise') },
  ])
  const rootfs = { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] }
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch
  const config = JSON.stringify({ architecture, os: 'linux', config: {}, rootfs })
  const manifest = [{ Config: 'config.json', RepoTags: ['lab/sim:1'], Layers: ['layer.tar'] }]
  const archive = makeTar([
    { name: 'layer.tar', content: layer },
    { name: 'config.json', content: config },
    { name: 'manifest.json', content: JSON.stringify(manifest) },
  ])
  const half = archive.length >> 1
  writeFileSync(join(place, 'first'), archive.subarray(0, half))
  writeFileSync(join(place, 'second'), archive.subarray(half))
  const script = `#!/bin/sh
case $1 in
image) echo sha256:${sha256(Buffer.from(config))} ${archive.length} ;;
save) cat ${place}/first; while [ ! -e ${place}/go ]; do sleep 0.1; done; cat ${place}/second ;;
esac
`
  writeFileSync(join(place, 'docker'), script)
  chmodSync(join(place, 'docker'), 0o755)
  return { path: `${place}:/usr/bin:/bin`, goOn: () => writeFileSync(join(place, 'go'), '') }
}

test.needs(missing, 'while docker saves an image it is told how much of it is there', async () => {
  const docker = fakeDocker()
  const env = { PATH: docker.path }
  const image = 'dockerd://lab/sim:1'
  const step = node.step({ options: [`container-image=${image}`], env, command: ['/noise'] })
  step.start(0)
  await step.sees(`berth: importing ${image} … 2 MB of 4 MB from docker, `)
  docker.goOn()
  equal(await step.exit(), 126)
  step.end()
  const lines = linesOf(step.stderr).filter((line) => !line.includes('from docker'))
  deepEqual(lines.slice(0, 2), [`berth: importing ${image} …`, `berth: imported ${image}`])
  const again = node.step({ options: [`container-image=${image}`], env, command: ['/noise'] })
  deepEqual(await again.run(), [126])
  equal(again.stderr.includes('import'), false)
  again.end()
})

test.run()
