// SPDX-License-Identifier: Apache-2.0
/** berth-exec and its worker: greeting, waiting, failures. */
import { spawn, spawnSync } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { encodeFrame, PROTOCOL_VERSION, Tag, Type } from '../../../src/worker/frame.js'
import { suite } from '../../suite.js'
import { type Rule, until } from './fake.js'
import {
  answer,
  bare,
  directory,
  environment,
  launch,
  launcher,
  OTHER_USER,
  startFake,
  USER,
} from './launch.js'

const test = suite('launcher')

test('tells the worker who it is and runs the command it stands for', async () => {
  const told = await launch([[Type.HELLO, bare()]], ['-c', 'echo ran "$@"; exit 7', 'x', 'a b', 'c'], {
    cwd: '/usr',
  })
  assert.is(told.stdout, 'ran a b c\n')
  assert.is(told.stderr, '')
  assert.is(told.status, 7)
  const hello = told.fake.of(Type.HELLO)[0]
  assert.is(hello?.uid, USER)
  assert.is(hello?.frame.text(Tag.ARGV0), 'sh')
  assert.is(hello?.frame.text(Tag.CWD), '/usr')
  assert.is(hello?.frame.number(Tag.TTY), 0)
  assert.is(hello?.frame.bytes(Tag.TICKET), undefined)
})

test('in front of a whole command line it drops only itself', async () => {
  const told = await launch([[Type.HELLO, bare()]], ['echo', 'hi'], { argv0: null })
  assert.is(told.stdout, 'hi\n')
})

test('sends the ticket of `berth run`', async () => {
  const ticket = '00112233445566778899aabbccddeeff'
  const told = await launch([[Type.HELLO, bare()]], ['-c', 'echo "[$BERTH_TICKET]"'], {
    env: { BERTH_TICKET: ticket },
  })
  assert.is(told.fake.of(Type.HELLO)[0]?.frame.bytes(Tag.TICKET)?.toString('hex'), ticket)
  assert.is(told.stdout, '[]\n')
})

test('progress goes to stderr as it is, the answer ends it', async () => {
  const steps = ['one\n', '\rtwo', '\n'].map((text) => answer(Type.PROGRESS, [[Tag.TEXT, text]]))
  const told = await launch([[Type.HELLO, ...steps, bare()]], ['-c', 'echo ran'])
  assert.is(told.stderr, 'one\n\rtwo\n')
  assert.is(told.stdout, 'ran\n')
})

test('a failure is told with its code, hint and exit code, and nothing runs', async () => {
  const fail = answer(Type.FAIL, [
    [Tag.CODE, 'BERTH_EIMAGENOTFOUND'],
    [Tag.TEXT, 'no such image: a'],
    [Tag.HINT, 'check the tag'],
    [Tag.EXIT, 125],
  ])
  const told = await launch([[Type.HELLO, fail]], ['-c', 'echo ran'])
  assert.is(told.stderr, 'berth: error[BERTH_EIMAGENOTFOUND]: no such image: a\nhint: check the tag\n')
  assert.is(told.stdout, '')
  assert.is(told.status, 125)
})

test('a failure that another task has told is silent', async () => {
  const fail = answer(Type.FAIL, [
    [Tag.CODE, 'BERTH_EIMAGENOTFOUND'],
    [Tag.TEXT, ''],
    [Tag.EXIT, 125],
  ])
  const told = await launch([[Type.HELLO, fail]], ['-c', 'echo ran'])
  assert.is(told.stderr + told.stdout, '')
  assert.is(told.status, 125)
})

test('a failure never ends with success', async () => {
  const told = await launch(
    [
      [
        Type.HELLO,
        answer(Type.FAIL, [
          [Tag.TEXT, 'x'],
          [Tag.EXIT, 0],
        ]),
      ],
    ],
    ['-c', 'echo ran'],
  )
  assert.is(told.status, 125)
})

test('an explanation is printed to stdout and nothing runs', async () => {
  const told = await launch(
    [
      [
        Type.HELLO,
        answer(Type.PRINT, [
          [Tag.TEXT, '{"plan":1}\n'],
          [Tag.EXIT, 0],
        ]),
      ],
    ],
    ['-c', 'echo ran'],
  )
  assert.is(told.stdout, '{"plan":1}\n')
  assert.is(told.status, 0)
})

test('without a socket, or with a relative one, nothing runs', async () => {
  for (const BERTH_SOCKET of [undefined, 'worker.sock', '']) {
    const told = spawnSync(launcher, ['-c', 'echo ran'], {
      env: { ...environment(''), BERTH_SOCKET },
      encoding: 'utf8',
    })
    assert.is(told.status, 125)
    assert.is(told.stdout, '')
    assert.match(told.stderr, /^berth: error\[BERTH_ENOWORKER\]: .*nobody here prepared it\nhint: /)
  }
})

test('an answer without namespaces runs nothing, unless it says so', async () => {
  const told = await launch([[Type.HELLO, answer(Type.JOIN)]], ['-c', 'echo ran'])
  assert.is(told.stdout, '')
  assert.is(told.status, 125)
  assert.match(told.stderr, /BERTH_EPROTOCOL/)
})

test('nothing that another user answers is carried out, nor is anything told to them', async () => {
  const login = answer(Type.LOGIN, [
    [Tag.ARGV, '/bin/touch'],
    [Tag.ARG, join(directory.path, 'made')],
  ])
  const rules: Rule[] = [[Type.HELLO, login, bare([Tag.ARGV, '/bin/echo'])]]
  const told = await launch(rules, ['-c', 'echo ran'], { workerUid: OTHER_USER })
  assert.is(told.status, 125)
  assert.is(told.stdout, '')
  assert.match(
    told.stderr,
    /^berth: error\[BERTH_ESTRANGER\]: whoever listens at .*worker\.sock is user 65533,/,
  )
  assert.match(told.stderr, /^hint: tell the operators of this node: runtime_dir/m)
  assert.equal(told.fake.seen, [])
})

test('a worker of the very user is heard, as one of root', async () => {
  const told = await launch([[Type.HELLO, bare()]], ['-c', 'echo ran'], { workerUid: USER })
  assert.is(told.stdout, 'ran\n')
})

test('a worker that dies while the task waits is asked again', async () => {
  const going = answer(Type.PROGRESS, [[Tag.TEXT, '.']])
  const rules: Rule[] = [
    [Type.HELLO, going, 'close'],
    [Type.HELLO, 'close'],
    [Type.HELLO, bare()],
  ]
  const told = await launch(rules, ['-c', 'echo ran'])
  assert.is(told.stdout, 'ran\n')
  assert.is(told.stderr, '.')
  assert.is(told.fake.of(Type.HELLO).length, 3)
})

test('a worker that never answers is given up after a few attempts', async () => {
  const told = await launch([[Type.HELLO, 'close']], ['-c', 'echo ran'], { env: { SLURMD_NODENAME: 'n7' } })
  assert.is(told.status, 125)
  assert.match(told.stderr, /BERTH_ENOWORKER.*several times/)
  assert.match(
    told.stderr,
    /^hint: tell the operators of node n7: `berth doctor` and the worker's log there/m,
  )
  assert.ok(told.fake.of(Type.HELLO).length <= 5)
})

test('garbage instead of a frame is refused', async () => {
  const told = await launch(
    [[Type.HELLO, { send: Buffer.from('hello, this is not a frame') }]],
    ['-c', 'echo ran'],
  )
  assert.is(told.status, 125)
  assert.match(told.stderr, /BERTH_EPROTOCOL/)
})

test('a worker of another version is told as that, with what to do', async () => {
  const answer = encodeFrame(Type.ACK)
  answer.writeUInt16LE(PROTOCOL_VERSION + 1, 6)
  const told = await launch([[Type.HELLO, { send: answer }]], ['-c', 'echo ran'])
  assert.is(told.status, 125)
  assert.is(told.stdout, '')
  assert.match(told.stderr, /BERTH_EVERSION.*berth was replaced on this node/)
  assert.match(told.stderr, /^hint: run the step again; .* root ends the worker/m)
})

test('inherited descriptors reach the command, its own do not', async () => {
  const fake = await startFake([[Type.HELLO, bare()]])
  const inherited = openSync('/etc/hostname', 'r')
  const told = spawn(launcher, ['-c', 'cat <&9; ls -l /proc/$$/fd | grep -c socket'], {
    env: environment(fake.socket),
    stdio: ['ignore', 'pipe', 'ignore', null, null, null, null, null, null, inherited],
  })
  let stdout = ''
  told.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  await new Promise((resolve) => told.on('close', resolve))
  closeSync(inherited)
  await fake.stop()
  // node's pipe for stdout is a socket pair.
  assert.is(stdout, `${readFileSync('/etc/hostname', 'utf8')}1\n`)
})

test('waits in less than a megabyte and dies of SIGTERM', async () => {
  const fake = await startFake([[Type.HELLO]])
  const child = spawn(launcher, ['-c', 'echo ran'], { env: environment(fake.socket), stdio: 'ignore' })
  const ended = new Promise<string | null>((resolve) => child.on('close', (_, signal) => resolve(signal)))
  await until('the greeting', () => fake.of(Type.HELLO).length === 1)
  const resident = Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1])
  if (process.env.BERTH_TEST_LAUNCHER === undefined) assert.ok(resident < 1024, `${resident} kB`)
  child.kill('SIGTERM')
  assert.is(await ended, 'SIGTERM')
  await fake.stop()
})

test.after(() => directory.remove())
test.run()
