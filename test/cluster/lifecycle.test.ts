// SPDX-License-Identifier: Apache-2.0
/** The worker comes when needed, and goes; steps outlive it, cancelled imports leave nothing. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'
import type { Node } from './cluster.js'
import { type Outcome, until } from './command.js'
import { sendSignal } from './daemon.js'
import { exits, fails, lines, prints, says } from './expect.js'
import { useCluster } from './fixture.js'
import { otherRelease } from './images.js'
import { loopDevices, mountsOf, processesOf } from './leftovers.js'
import { pushSlowImage, startThrottle, type Throttle } from './throttle.js'

const test = suite('lifecycle')
const at = useCluster(test)
const codename = ['sh', '-c', '. /etc/os-release; echo $VERSION_CODENAME']
const first = (): Node => at.cluster.nodes[0] as Node

/** Files in the store that are no finished image. */
function unfinished(node: Node): string[] {
  const dir = join(node.storeDir, 'images')
  if (!existsSync(dir)) return []
  return readdirSync(dir).filter(
    (name) => !/^(sha256-[0-9a-f]{64}-[fr]\d+(-\w+)?|copy-[\d-]+)\.(sqsh|json)$/.test(name),
  )
}

/** The gate is opened in the end, so that a test that fails holds nothing up for the next. */
async function throttled(body: (throttle: Throttle) => Promise<void>): Promise<void> {
  const throttle = await startThrottle(at.registry.host, at.cluster.undo)
  try {
    await body(throttle)
  } finally {
    throttle.open()
  }
}

/** A step that runs until `end` is called, which answers how it ended. */
async function startSleeper(image: string, name: string): Promise<{ end(): Promise<Outcome> }> {
  const go = join(at.cluster.shared, `${name}.go`)
  const step = at.cluster.start([
    'srun',
    '-n1',
    '-w',
    'n1',
    '-J',
    name,
    `--container-image=${image}`,
    `--container-mounts=${at.cluster.shared}`,
    'sh',
    '-c',
    `echo up; while [ ! -e ${go} ]; do sleep 0.1; done; echo still here; exit 4`,
  ])
  await step.sees(/up/)
  const end = (): Promise<Outcome> => {
    writeFileSync(go, '')
    return step.done
  }
  return { end }
}

async function worker(): Promise<number> {
  await until('a worker', () => first().workerPid() !== undefined)
  return first().workerPid() ?? 0
}

async function jobId(name: string): Promise<string> {
  const list = async (): Promise<string> =>
    (await at.cluster.command(['squeue', '-h', '-n', name, '-o', '%A'])).stdout.trim()
  await until(`job ${name}`, async () => (await list()) !== '')
  return list()
}

test('a job without container flags makes no connection, one with them does', async () => {
  const node = first()
  mkdirSync(node.runtimeDir, { recursive: true })
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    socket.destroy()
  })
  await new Promise<void>((resolve) => server.listen(join(node.runtimeDir, 'worker.sock'), resolve))
  prints(await at.cluster.srun(['-n2', '-w', 'n1', 'echo', 'bare']), ['bare', 'bare'])
  exits(await at.cluster.batch('#!/bin/sh\nexit 0\n', ['-w', 'n1']), 0)
  assert.is(connections, 0)
  fails(
    await at.cluster.srun(['-n1', '-w', 'n1', `--container-image=${at.images.debian}`, 'true'], {
      timeoutMs: 60_000,
    }),
  )
  assert.ok(connections > 0)
  await new Promise((resolve) => server.close(resolve))
  assert.is(node.workerPid(), undefined)
})

test('the first step starts the worker, outside of every step’s cgroup and session', async () => {
  prints(await at.cluster.srun(['-n1', '-w', 'n1', `--container-image=${at.images.debian}`, ...codename]), [
    otherRelease(),
  ])
  const pid = await worker()
  const seen = lines(
    await at.cluster.command(['sh', '-c', `cat /proc/${pid}/cgroup | cut -d: -f3 | sort -u`], {
      user: 'root',
    }),
  )
  assert.ok(
    seen.every((path) => !/slurm|job_|step_/.test(path)),
    seen.join(' '),
  )
})

test('an import shows its progress', () =>
  throttled(async (throttle) => {
    await pushSlowImage(at.registry, 'shown:1')
    const step = at.cluster.start([
      'srun',
      '-n2',
      '-w',
      'n1',
      `--container-image=${throttle.host}/shown:1`,
      'sh',
      '-c',
      'echo up',
    ])
    await until('a held transfer', () => throttle.held() > 0)
    await step.sees(/import/i)
    throttle.open()
    prints(await step.done, ['up', 'up'])
  }))

test('scancel during an import leaves no process, mount, loop device or file', () =>
  throttled(async (throttle) => {
    // The worker keeps an image that was just used, and may give it back meanwhile.
    const loops = loopDevices(at.cluster.dir)
    const image = `${throttle.host}/slow:1`
    await pushSlowImage(at.registry, 'slow:1')
    const step = at.cluster.start([
      'srun',
      '-n4',
      '-w',
      'n1',
      '-J',
      'slow',
      `--container-image=${image}`,
      'touch',
      'must-not-run',
    ])
    await until('a held transfer', () => throttle.held() > 0)
    exits(await at.cluster.command(['scancel', await jobId('slow')]), 0)
    fails(await step.done)
    await until('no transfer', () => throttle.held() === 0)
    await until('no file', () => unfinished(first()).length === 0)
    assert.equal(
      loopDevices(at.cluster.dir).filter((line) => !loops.includes(line)),
      [],
    )
    assert.equal(mountsOf('self', at.cluster.dir), [])
    assert.not.ok(existsSync(join(at.cluster.shared, 'must-not-run')))
    await until('node idle again', async () => (await at.cluster.nodeState('n1')) === 'idle')
    throttle.open()
    prints(await at.cluster.srun(['-n1', '-w', 'n1', `--container-image=${image}`, 'echo', 'later']), [
      'later',
    ])
  }))

test('Ctrl-C during an import ends it', () =>
  throttled(async (throttle) => {
    await pushSlowImage(at.registry, 'interrupted:1')
    const step = at.cluster.start([
      'srun',
      '-n1',
      '-w',
      'n1',
      `--container-image=${throttle.host}/interrupted:1`,
      'true',
    ])
    await until('a held transfer', () => throttle.held() > 0)
    fails(await step.interrupt())
    await until('no transfer', () => throttle.held() === 0)
  }))

test('the worker killed during an import: the step still gets its image', () =>
  throttled(async (throttle) => {
    await pushSlowImage(at.registry, 'killed:1')
    const step = at.cluster.start([
      'srun',
      '-n2',
      '-w',
      'n1',
      `--container-image=${throttle.host}/killed:1`,
      'echo',
      'made it',
    ])
    await until('a held transfer', () => throttle.held() > 0)
    sendSignal(await worker(), 'SIGKILL')
    throttle.open()
    prints(await step.done, ['made it', 'made it'])
    await until('no file', () => unfinished(first()).length === 0)
  }))

test('the worker killed during a step: the step goes on, the next one finds a new worker', async () => {
  const step = await startSleeper(at.images.debian, 'survivor')
  const old = await worker()
  sendSignal(old, 'SIGKILL')
  prints(
    await at.cluster.srun([
      '-n1',
      '-w',
      'n1',
      '--overlap',
      `--container-image=${at.images.debian}`,
      ...codename,
    ]),
    [otherRelease()],
  )
  assert.is.not(await worker(), old)
  says(exits(await step.end(), 4), /still here/)
  const held = (): number => mountsOf('self', at.cluster.dir).length
  await until('all mounts gone', () => held() === 0)
})

test('keeper and worker killed: the next step starts both', async () => {
  const pids = processesOf(first().dir).filter((line) => /berth-keeper|worker\.js/.test(line))
  assert.ok(pids.length >= 2, pids.join('\n'))
  for (const line of pids) sendSignal(Number(line.split(' ')[1]), 'SIGKILL')
  await until('both gone', () => first().workerPid() === undefined)
  prints(await at.cluster.srun(['-n1', '-w', 'n1', `--container-image=${at.images.debian}`, ...codename]), [
    otherRelease(),
  ])
})

test('slurmd restarted during a step: it ends as it would have', async () => {
  const step = await startSleeper(at.images.debian, 'restart')
  const before = await worker()
  await first().restart()
  says(exits(await step.end(), 4), /still here/)
  assert.is(await worker(), before)
  prints(await at.cluster.srun(['-n1', '-w', 'n1', `--container-image=${at.images.debian}`, ...codename]), [
    otherRelease(),
  ])
})

test('one namespace and one mount per node and step, none is left after it', async () => {
  await at.cluster.srun(['-n8', '-w', 'n1', `--container-image=${at.images.debian}`, 'true'])
  const inSlurmd = (): string[] => mountsOf(first().pid(), first().storeDir)
  await until('no mount of the store in slurmd’s namespace', () => inSlurmd().length === 0)
  assert.equal(mountsOf('self', first().storeDir), [])
})

test('after all that, no node is drained', async () => {
  for (const node of at.cluster.nodes) {
    await until(`${node.name} idle`, async () => (await at.cluster.nodeState(node.name)) === 'idle')
  }
})

test.run()
