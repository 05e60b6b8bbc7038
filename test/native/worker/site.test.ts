// SPDX-License-Identifier: Apache-2.0
/** What operators do to a node: each time somebody hears what is wrong, and steps that can run do. */
import { equal, match, ok } from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chownSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { encodeFrame, PROTOCOL_VERSION, Tag, Type } from '../../../src/worker/frame.js'
import { processAlive } from '../../cluster/daemon.js'
import { importersOf } from '../../cluster/leftovers.js'
import { suite } from '../../suite.js'
import { MoodyRegistry } from './moody_registry.js'
import { collect, missingForNode, TestNode, talk, UID } from './node.js'
import { until } from './until.js'
import { withNode } from './with_node.js'

const test = suite('a node and its operators')
const missing = missingForNode()
let registry: MoodyRegistry
/** Nobody asks it for anything while the other tests run. */
let quiet: TestNode | undefined

test.before(async () => {
  if (missing === undefined) registry = await MoodyRegistry.start()
})
test.after(async () => {
  const left = await quiet?.stop()
  registry?.stop()
  equal(left?.join('\n') ?? '', '')
})

test.needs(missing, 'an importer that has asked a registry waits for the next order', async () => {
  const node = new TestNode({ tag_ttl: '0' })
  quiet = node
  node.startKeeper()
  registry.turn('answer')
  // The first imports, and such an importer ends with its order.
  for (let count = 0; count < 2; count++) {
    const step = node.step({ options: [`container-image=${registry.image()}`], command: ['true'] })
    equal((await step.run())[0], 0, step.stderr)
    step.end()
  }
  const worker = await node.workerPid()
  await until('the end of the one that imported', () => importersOf(worker).length === 1)
})

test.needs(
  missing,
  'a setting without which no worker can work is told to who asks, and mended soon',
  async () => {
    const config = join('/run', `berth-test-${process.pid}.conf`)
    writeFileSync(config, 'importer_user = no-such-account\n')
    await withNode({ config }, async (node) => {
      node.startKeeper()
      const words = `berth: error[BERTH_ESITE]: ${config}:1: importer_user: no unprivileged account no-such-account`
      const command = ['run', node.image, '--', 'echo', 'ran']
      // Together, for it refuses for ten seconds and a busy machine is slow.
      const runs = [1, 2, 3].map(() => collect(node.spawnCli(UID, ...command)))
      for (const { status, stdout, stderr } of await Promise.all(runs)) {
        equal(status, 125)
        equal(stdout, '')
        equal(stderr.split('\n')[0], words)
        match(stderr, /^hint: correct the line, or tell the operators of this node/m)
      }
      equal(node.log.split(words.slice(words.indexOf(config))).length, 2, node.log)
      const checked = node.cli('check', `--config=${config}`)
      equal(checked.status, 3)
      equal(checked.stderr.split('\n')[0], words)
      writeFileSync(config, '')
      await until('the next worker', () => node.cli('ps').status === 0)
      equal(node.cliAs(UID, ...command).status, 0)
    }).finally(() => rmSync(config))
  },
)

test.needs(
  missing,
  'a file that was edited under the worker: check and doctor say that it counts later',
  async () => {
    const config = join('/run', `berth-test-${process.pid}.conf`)
    writeFileSync(config, '')
    await withNode({ config }, async (node) => {
      node.startKeeper()
      const check = () => node.cli('check', `--config=${config}`)
      equal(node.cli('ps').status, 0)
      equal(check().stderr, '')
      writeFileSync(config, 'tag_ttl = 30\n')
      const pid = await node.workerPid()
      const words = `the worker (pid ${pid}) has started before ${config} was changed`
      const { status, stdout, stderr } = check()
      equal(status, 0)
      match(stdout, /^ok: the site configuration can be used/)
      equal(
        stderr,
        `berth: warning: ${words}: kill ${pid}: running steps go on, and the next worker reads it\n`,
      )
      ok(node.cli('doctor').stdout.includes(`warn  site                 ${words}\n      fix: kill ${pid}: `))
      process.kill(pid, 'SIGTERM')
      await until('its end', () => !processAlive(pid))
      equal(node.cli('ps').status, 0)
      equal(check().stderr, '')
    }).finally(() => rmSync(config))
  },
)

test.needs(missing, 'images are stored with the compressor and the block size of the site', () =>
  withNode({ compressor: 'lz4', block_size: '64K' }, async (node) => {
    node.startKeeper()
    registry.turn('answer')
    const step = node.step({ options: [`container-image=${registry.image()}`], command: ['true'] })
    equal((await step.run())[0], 0)
    const [name = ''] = readdirSync(join(node.store, 'images')).filter((one) => one.endsWith('.sqsh'))
    const told = execFileSync('unsquashfs', ['-s', join(node.store, 'images', name)], { encoding: 'utf8' })
    match(told, /^Compression lz4$/m)
    match(told, /^Block size 65536$/m)
  }),
)

test.needs(
  missing,
  'a registry that the site denies: refused by name before it is asked, in all ways to an image',
  () =>
    withNode({ registries_deny: '127.0.0.1' }, async (node) => {
      node.startKeeper()
      registry.turn('answer')
      const asked = registry.questions
      const words =
        /BERTH_EPOLICY\]: registry 127\.0\.0\.1:\d+ is not allowed on this system\nhint: .*registries_deny/
      const step = node.step({ options: [`container-image=${registry.image()}`], command: ['echo', 'ran'] })
      equal((await step.run())[0], 125)
      match(step.stderr, words)
      equal(step.stdout, '')
      match(node.cliAs(UID, 'run', registry.image(), '--', 'echo', 'ran').stderr, words)
      match(node.cli('pull', registry.image()).stderr, words)
      equal(registry.questions, asked)
      equal(node.cliAs(UID, 'run', node.image, '--', 'echo', 'ran').stdout, 'ran\n')
    }),
)

test.needs(missing, 'a uid is any number, also where files of an image get theirs from', () =>
  withNode({}, async (node) => {
    node.startKeeper()
    for (const uid of [2 ** 31 - 1, 2 ** 31, 2 ** 31 + 1, 3_000_000_001, 2 ** 32 - 2]) {
      const words = [
        'run',
        node.image,
        '--writable',
        '--',
        'sh',
        '-c',
        'id -u; id -g; stat -c %u /etc/inside; echo > /x',
      ]
      const { stdout, stderr } = node.cliAs(uid, ...words)
      equal(stdout + stderr, `${uid}\n`.repeat(3))
    }
  }),
)

test.needs(missing, 'more groups than a namespace takes numbers of: the program runs, and they count', () =>
  withNode({}, async (node) => {
    node.startKeeper()
    const run = (groups: number[], command: string, ...more: string[]) => {
      const berth = ['run', node.image, ...more, '--', 'sh', '-c', command]
      const { args, options } = node.cliCommand(UID, ...berth)
      const words = args.map((word) => (word === '--clear-groups' ? `--groups=${groups.join(',')}` : word))
      return spawnSync('setpriv', words, options)
    }
    const gids = Array.from({ length: 300 }, (_, index) => 1_000_000_000 + 2 * index)
    const file = join(node.dir, 'of-the-last-group')
    writeFileSync(file, 'read\n', { mode: 0o640 })
    chownSync(file, 0, gids.at(-1) ?? 0)
    const { stdout, stderr } = run(gids, `cat ${file}`, `--mounts=${file}`)
    equal(stdout + stderr, 'read\n')
    match(node.log, /\d+ groups of the user have no number inside/)
    const few = run(gids.slice(0, 160), 'id -G')
    equal(few.stdout.trim().split(' ').length, 161)
  }),
)

test.needs(missing, 'a log that grows for as long as the worker lives is kept small, and once', () =>
  withNode({}, async (node) => {
    node.startKeeper()
    equal(node.cli('ps').status, 0)
    const log = join(node.runtime, 'worker.log')
    const { ino } = statSync(log)
    execFileSync('sh', ['-c', `head -c ${17 << 20} /dev/zero | tr '\\0' x >> ${log}`])
    const step = node.step({ command: ['true'] })
    equal((await step.run())[0], 0)
    step.end()
    await until('its release', () => node.leases().length === 0)
    equal(statSync(log).ino, ino)
    ok(statSync(log).size < 1 << 20, `${statSync(log).size}`)
    ok(statSync(`${log}.old`).size > 17 << 20)
    const next = node.step({ command: ['true'] })
    equal((await next.run())[0], 0)
    match(node.log, /^[^x]*step 4711\.0: registered/)
  }),
)

test.needs(missing, 'a plugin or a command of another version is told as that, with what to do', () =>
  withNode({}, async (node) => {
    node.startKeeper()
    const asked = encodeFrame(Type.TASK, [[Tag.HANDLE, Buffer.alloc(16)]])
    asked.writeUInt16LE(PROTOCOL_VERSION + 1, 6)
    const answer = (await talk(node.socket, asked)).toString()
    match(answer, /BERTH_EVERSION/)
    match(answer, /berth was replaced on this node, and its worker speaks another protocol \(2 met 1\)/)
    match(answer, /run the step again; .* root ends the worker of this node/)
  }),
)

test.needs(missing, 'a worker of another version: the command says so', () =>
  withNode({}, async (node) => {
    const newer = encodeFrame(Type.RESULT)
    newer.writeUInt16LE(PROTOCOL_VERSION + 1, 6)
    const server = createServer((socket) => socket.end(newer)).listen(node.socket)
    const said: string[] = []
    const child = node.spawnCli(0, 'images')
    child.stderr?.setEncoding('utf8').on('data', (text: string) => said.push(text))
    const code = await new Promise((resolve) => child.once('close', resolve))
    server.close()
    equal(code, 1)
    match(said.join(''), /^berth: error\[BERTH_EVERSION\]: .*\nhint: run the step again; .*\n$/)
    ok(!said.join('').includes('    at '))
  }),
)

test.needs(missing, 'no importer runs without work for long', async () => {
  const worker = (await quiet?.workerPid()) ?? 0
  await until('the end of the one that waits', () => importersOf(worker).length === 0)
})

test.run()
