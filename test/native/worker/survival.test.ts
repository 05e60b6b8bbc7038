// SPDX-License-Identifier: Apache-2.0
import { deepEqual, equal, match } from 'node:assert/strict'
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { encodeFrame, Tag, Type } from '../../../src/worker/frame.js'
import { processAlive } from '../../cluster/daemon.js'
import { suite } from '../../suite.js'
import { MoodyRegistry } from './moody_registry.js'
import { missingForNode, TestNode, talk, UID } from './node.js'
import { until } from './until.js'

const test = suite('a worker that goes away')
const missing = missingForNode()
/** Of stepd.c. */
const JOB = 4711
/** SHORT_LIFE_SIGNALLED_MS of slurm/serve.c, and a little for the start. */
const SHORT_LIFE_MS = 1200
let node: TestNode
let registry: MoodyRegistry

test.before(async () => {
  if (missing !== undefined) return
  node = new TestNode()
  node.startKeeper()
  registry = await MoodyRegistry.start()
})
test.after(async () => {
  if (missing !== undefined) return
  registry.stop()
  equal((await node.stop()).join('\n'), '')
})

/** With that word in its command line, whichever thread forked it; 0: none. */
function childOf(pid: number, word: string): number {
  const tasks = readdirSync(`/proc/${pid}/task`).map((task) => `/proc/${pid}/task/${task}/children`)
  const pids = tasks.flatMap((path) => (existsSync(path) ? readFileSync(path, 'utf8').trim().split(' ') : []))
  return Number(pids.find((one) => commandOf(one).includes(word)) ?? 0)
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

/** Says where it lives, waits for a line on stdin that never comes. */
const STAY = [
  'sh',
  '-c',
  'readlink /proc/self/ns/user; readlink /proc/self/ns/mnt; [ $SLURM_PROCID = 0 ] && exec sleep 1000; exit 0',
]

/** One that has lived: of three short lives in a row the keeper makes no fourth. */
async function killWorker(): Promise<number> {
  const pid = await node.workerPid()
  const { mtimeMs } = statSync(join(node.runtime, 'worker.pid'))
  await until('a life that is not short', () => Date.now() - mtimeMs > SHORT_LIFE_MS)
  process.kill(pid, 'SIGKILL')
  await until('the end of the worker', () => !processAlive(pid))
  return pid
}

test.needs(
  missing,
  'kill -9 during a step: the task lives, a late one joins the same namespaces',
  async () => {
    const step = node.step({ command: STAY })
    step.start(0)
    await until('two lines', () => step.stdout.split('\n').length === 3)
    const namespaces = step.stdout
    const old = await killWorker()
    equal(processAlive(step.pids.get(0) ?? 0), true)
    step.start(1)
    equal(await step.exit(1), 0)
    equal(step.stdout, namespaces + namespaces)
    await node.workerPid(old)
    match(node.log, /step 4711\.0: adopted with 1 tasks/)
    step.kill()
    await until('its release', () => node.leases().length === 0)
  },
)

test.needs(missing, 'with no task alive a late one gets new namespaces, in the same image', async () => {
  const step = node.step({ command: ['cat', '/etc/inside'] })
  equal((await step.run())[0], 0)
  await killWorker()
  step.start(1)
  equal(await step.exit(1), 0)
  equal(step.stdout, 'berth-test\nberth-test\n')
  step.end()
})

test.needs(
  missing,
  'SIGTERM during a step: the keeper stays, a late task joins the same namespaces',
  async () => {
    const step = node.step({ command: STAY })
    step.start(0)
    await until('two lines', () => step.stdout.split('\n').length === 3)
    const namespaces = step.stdout
    const keeper = node.keeperPid()
    const pid = await node.workerPid()
    process.kill(pid, 'SIGTERM')
    await until('the end of the worker', () => !processAlive(pid))
    await until("the keeper's word", () => /worker was told to end/.test(node.log))
    equal(existsSync(node.socket), true)
    step.start(1)
    equal(await step.exit(1), 0)
    equal(step.stdout, namespaces + namespaces)
    equal(node.keeperPid(), keeper)
    step.kill()
    await until('its release', () => node.leases().length === 0)
  },
)

test.needs(missing, 'a step that ended meanwhile is released by the next worker', async () => {
  const step = node.step({ command: ['true'] })
  await step.run()
  equal(node.leases().length, 1)
  await killWorker()
  step.kill()
  await until('the end of the step', () => !processAlive(step.pid))
  equal(node.cli('ps', '--json').stdout.trim(), '[]')
  equal(node.leases().length, 0)
})

test.needs(missing, 'kill -9 while a launcher waits for an image: it asks the next worker', async () => {
  registry.turn('stall')
  const asked = registry.questions
  const step = node.step({ options: [`container-image=${registry.image()}`] })
  step.start(0)
  await until('the first question to the registry', () => registry.questions > asked)
  const before = registry.questions
  await killWorker()
  await until('the question of the next worker', () => registry.questions > before)
  equal(step.exits.has(0), false)
  registry.turn('refuse')
  equal(await step.exit(), 125)
  match(step.stderr, /BERTH_EIMAGENOTFOUND|BERTH_EAUTH/)
  step.end()
})

test.needs(
  missing,
  'kill -9 while a container is saved: nothing of it stays, and the task fails',
  async () => {
    const folder = join(node.dir, 'saved')
    mkdirSync(folder)
    chownSync(folder, UID, UID)
    const options = [
      `container-image=${node.image}`,
      'container-writable=1',
      `container-save=${folder}/x.sqsh`,
    ]
    const command = ['sh', '-c', 'head -c 30000000 /dev/urandom > /big']
    const step = node.step({ options, command })
    step.start(0)
    const worker = await node.workerPid()
    let saver = 0
    await until('a process that saves', () => {
      saver = childOf(worker, 'saver.js')
      return saver !== 0
    })
    process.kill(saver, 'SIGSTOP')
    await killWorker()
    process.kill(saver, 'SIGKILL')
    equal(await step.exit(), 125)
    deepEqual(readdirSync(folder), [])
    step.kill()
    equal(node.cli('ps').status, 0)
    await until('its release', () => node.leases().length === 0)
  },
)

test.needs(missing, 'a step that is canceled in the middle of a layer leaves nothing', async () => {
  registry.turn('half')
  const asked = registry.layers
  const options = [`container-image=${registry.image()}`]
  await until('the end of the step before, which is of the same job', () => node.leases().length === 0)
  // As the prolog: it must not go on alone.
  const fields = options.map((option) => [Tag.OPTION, option] as const)
  const prolog = [[Tag.JOB, JOB] as const, [Tag.UID, UID] as const, ...fields]
  await talk(node.socket, encodeFrame(Type.PREFETCH, prolog))
  await until('the layer', () => registry.layers > asked)
  const step = node.step({ options })
  step.start(0)
  await until('its step', () => node.leases().length === 1)
  step.kill()
  await until('its release', () => node.leases().length === 0)
  await until('no importer at work', async () => (await node.importers()).length === 0)
  equal(node.unfinished().join(), '')
  registry.turn('refuse')
})

test.needs(missing, 'kill -9 in the middle of a layer: the next worker starts over', async () => {
  registry.turn('half')
  const asked = registry.layers
  const command = ['sh', '-c', 'pwd; cat inside']
  const step = node.step({ options: [`container-image=${registry.image()}`], command })
  step.start(0)
  await until('the layer', () => registry.layers > asked)
  await step.sees('berth: importing')
  await killWorker()
  await until('the layer for the next worker', () => registry.layers > asked + 1)
  registry.turn('answer')
  equal(await step.exit(), 0)
  equal(step.stdout, '/etc\nmoody\n')
  equal(node.unfinished().join(), '')
  step.end()
})

test.needs(missing, 'eight steps that ask for one cold image import it once, and all run', async () => {
  await until('no lease', () => node.leases().length === 0)
  equal(node.cli('gc', '--all').status, 0)
  registry.turn('half')
  const asked = registry.layers
  const options = [`container-image=${registry.image('other')}`]
  const steps = Array.from({ length: 8 }, () => node.step({ options, command: ['cat', '/etc/inside'] }))
  for (const step of steps) step.start(0)
  await until('the layer', () => registry.layers > asked)
  await until('eight leases', () => node.leases().length === 8)
  registry.turn('answer')
  for (const step of steps) equal(await step.exit(), 0)
  equal(registry.layers, asked + 1)
  equal(steps.map(({ stdout }) => stdout).join(''), 'moody\n'.repeat(8))
  for (const step of steps) step.end()
})

test.needs(
  missing,
  'an idle worker ends, its keeper and its socket too; the next request starts both',
  async () => {
    const hasty = new TestNode({ idle_exit: '1' })
    try {
      hasty.startKeeper()
      const step = hasty.step({ command: ['sleep', '1000'] })
      step.start(0)
      const pid = await hasty.workerPid()
      const keeper = hasty.keeperPid()
      await step.isRegistered()
      step.kill()
      await until('the end of the worker', () => !processAlive(pid))
      await until('the end of the keeper', () => !processAlive(keeper))
      equal(existsSync(hasty.socket), false)
      equal(hasty.cli('images').status, 0)
    } finally {
      equal((await hasty.stop()).join('\n'), '')
    }
  },
)

test.needs(missing, 'a step keeps the worker from ending', async () => {
  const hasty = new TestNode({ idle_exit: '1' })
  try {
    hasty.startKeeper()
    const step = hasty.step({ command: ['sleep', '2'] })
    step.start(0)
    const pid = await hasty.workerPid()
    equal(await step.exit(), 0)
    equal(processAlive(pid), true)
    step.end()
    await until('the end of the worker', () => !processAlive(pid))
  } finally {
    equal((await hasty.stop()).join('\n'), '')
  }
})

test.run()
