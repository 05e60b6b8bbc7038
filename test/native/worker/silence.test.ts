// SPDX-License-Identifier: Apache-2.0
/** What a user is shown while a registry does not answer. */
import { deepEqual, equal, match } from 'node:assert/strict'
import { spawn } from 'node:child_process'
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

test.before(async () => {
  if (missing !== undefined) return
  node = new TestNode({ tag_ttl: '0' })
  node.startKeeper()
  registry = await MoodyRegistry.start()
  other = await MoodyRegistry.start()
})
test.after(async () => {
  if (missing !== undefined) return
  registry.stop()
  other.stop()
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

test.run()
