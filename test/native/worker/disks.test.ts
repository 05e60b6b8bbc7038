// SPDX-License-Identifier: Apache-2.0
/** The directories of a worker: which they are, whose they are, and what becomes of steps when disks fail. */
import { equal, match, ok } from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { processAlive } from '../../cluster/daemon.js'
import { suite } from '../../suite.js'
import { MoodyRegistry } from './moody_registry.js'
import { missingForNode, type TestNode, UID, UNSAID } from './node.js'
import { until } from './until.js'
import { withNode } from './with_node.js'

const test = suite('a node and its disks')
const missing = missingForNode()
let registry: MoodyRegistry

test.before(async () => {
  if (missing === undefined) registry = await MoodyRegistry.start()
})
test.after(() => registry?.stop())

/** On a small file system of its own, which the body may fill or forbid to write. */
async function onDisk(node: TestNode, directory: string, body: () => Promise<void>): Promise<void> {
  execFileSync('mkdir', ['-p', directory])
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0755', 'tmpfs', directory])
  try {
    await body()
  } finally {
    const keeper = node.keeperPid()
    if (keeper !== 0) process.kill(keeper, 'SIGTERM')
    await until('the end of the keeper', () => keeper === 0 || !processAlive(keeper))
    execFileSync('umount', ['-l', directory])
  }
}

test.needs(missing, 'a store that only berth.conf names is the one that is used', () => {
  const config = join('/run', `berth-test-${process.pid}.conf`)
  return withNode({ config, store: UNSAID }, async (node) => {
    writeFileSync(config, `store = ${node.store}\n`)
    node.startKeeper()
    equal(node.cliAs(UID, 'run', node.image, '--', 'echo', 'ran').stdout, 'ran\n')
    ok(existsSync(join(node.store, 'worker.lock')))
    const { status, stdout } = node.cli('doctor', `--config=${config}`)
    match(stdout, new RegExp(`^ok +store +${node.store} `, 'm'))
    equal(status, 0, stdout)
  }).finally(() => rmSync(config))
})

test.needs(
  missing,
  'a disk that others have filled costs no step whose image is there, also with a new worker',
  () =>
    withNode({}, (node) =>
      onDisk(node, node.store, async () => {
        node.startKeeper()
        const run = () => node.cliAs(UID, 'run', node.image, '--', 'echo', 'ran')
        equal(run().stdout, 'ran\n')
        const keeper = node.keeperPid()
        process.kill(keeper, 'SIGTERM')
        await until('its end', () => !processAlive(keeper))
        // Its block went to who fills the disk.
        truncateSync(join(node.store, 'worker.lock'))
        spawnSync('dd', ['if=/dev/zero', `of=${join(node.store, 'filled')}`, 'bs=4k'])
        node.startKeeper()
        const { stdout, stderr } = run()
        equal(stdout, 'ran\n', stderr)
        match(
          node.log,
          /no space left on device.*: free space there: only images that are stored can be used/,
        )
      }),
    ),
)

test.needs(missing, 'a store that another worker uses: refused with its pid, until that one has died', () =>
  withNode({}, async (node) => {
    node.startKeeper()
    await withNode({ store: node.store }, async (other) => {
      equal(node.cliAs(UID, 'run', node.image, '--name=both', '--', 'true').status, 0)
      const pid = await node.workerPid()
      const run = () => {
        // Of one that refuses nothing is left after ten seconds, which a busy machine may take for the first run.
        other.startKeeper()
        return other.cliAs(UID, 'run', other.image, '--name=both', '--', 'echo', 'ran')
      }
      for (const { status, stdout, stderr } of [run(), run()]) {
        equal(status, 125)
        equal(stdout, '')
        const words = `plugstack argument: store: the worker with pid ${pid} uses ${node.store}: give each`
        equal(stderr.includes(`berth: error[BERTH_ESITE]: ${words}`), true, stderr)
      }
      process.kill(node.keeperPid(), 'SIGKILL')
      process.kill(pid, 'SIGKILL')
      // It refuses for ten seconds; an operator ends it.
      const keeper = other.keeperPid()
      if (keeper !== 0) process.kill(keeper, 'SIGTERM')
      await until('its end', () => keeper === 0 || !processAlive(keeper))
      equal(run().stdout, 'ran\n')
    })
  }),
)

test.needs(missing, 'the lock of a dead worker, which a helper of its own still has, keeps nobody out', () =>
  withNode({}, async (node) => {
    mkdirSync(node.store, { recursive: true, mode: 0o700 })
    const lock = join(node.store, 'worker.lock')
    writeFileSync(lock, `${spawnSync('true').pid}\n`)
    const helper = spawn('flock', ['--no-fork', lock, 'sleep', '600'])
    try {
      await until('the lock', () => readFileSync(`/proc/${helper.pid}/comm`, 'utf8') === 'sleep\n')
      node.startKeeper()
      equal(node.cliAs(UID, 'run', node.image, '--', 'echo', 'ran').stdout, 'ran\n')
    } finally {
      helper.kill('SIGKILL')
    }
  }),
)

test.needs(missing, 'a store on a file system that may only be read', () =>
  withNode({}, (node) =>
    onDisk(node, node.store, async () => {
      execFileSync('mount', ['-o', 'remount,ro', node.store])
      node.startKeeper()
      const { status, stderr } = node.cliAs(UID, 'run', node.image, '--', 'true')
      equal(status, 125)
      match(stderr, /BERTH_ESITE\]: plugstack argument: store: cannot be used: EROFS: read-only file system/)
    }),
  ),
)

test.needs(missing, 'one that becomes so while the worker runs: what is there runs, the rest says why', () =>
  withNode({}, (node) =>
    onDisk(node, node.store, async () => {
      node.startKeeper()
      registry.turn('answer')
      const step = (image: string) => node.step({ options: [`container-image=${image}`], command: ['true'] })
      equal((await step(node.image).run())[0], 0)
      execFileSync('mount', ['-o', 'remount,ro', node.store])
      equal((await step(node.image).run())[0], 0)
      const other = step(registry.image())
      equal((await other.run())[0], 125)
      match(
        other.stderr,
        /BERTH_ESTORE\]: the store .* of this node cannot be used: .*[Rr]ead-only file system/,
      )
      match(other.stderr, /^hint: run the step on other nodes/m)
    }),
  ),
)

test.needs(missing, 'a store that somebody has emptied under the worker: images are imported anew', () =>
  withNode({}, async (node) => {
    node.startKeeper()
    registry.turn('answer')
    const options = [`container-image=${registry.image()}`]
    const runs = async () => {
      const step = node.step({ options, command: ['cat', '/etc/inside'] })
      const [code] = await step.run()
      equal(`${code} ${step.stdout}${code === 0 ? '' : step.stderr}`, '0 moody\n')
      step.end()
    }
    await runs()
    for (const name of readdirSync(node.store)) rmSync(join(node.store, name), { recursive: true })
    await runs()
    rmSync(node.store, { recursive: true })
    await runs()
    equal(JSON.parse(node.cli('images', '--json').stdout).length, 1)
  }),
)

test.needs(missing, 'the root that a killed worker had shown to a daemon is taken away by the next one', () =>
  withNode({}, async (node) => {
    const shown = join(node.runtime, 'shown', 'berth-1-0-00000000')
    mkdirSync(shown, { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', shown])
    node.startKeeper()
    equal(node.cli('ps').status, 0)
    const isMounted = readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${shown} `)
    if (isMounted) execFileSync('umount', [shown])
    equal(isMounted, false)
    equal(existsSync(shown), false)
  }),
)

test.needs(missing, 'a full runtime directory costs leases and log, and no step', () =>
  withNode({}, (node) =>
    onDisk(node, node.runtime, async () => {
      node.startKeeper()
      const filler = join(node.runtime, 'filler')
      execFileSync('sh', ['-c', `cat /dev/zero > ${filler} 2>/dev/null || :`])
      const step = node.step({ command: ['cat', '/etc/inside'] })
      const [code] = await step.run()
      equal(`${code} ${step.stdout}`, '0 berth-test\n')
      step.end()
      rmSync(filler)
      const next = node.step({ command: ['sleep', '1000'] })
      next.start(0)
      await until('a lease again', () => node.leases().length === 1)
      next.kill()
      await until('its release', () => node.leases().length === 0)
      match(node.log, /step 4711\.0: registered/)
    }),
  ),
)

test.run()
