// SPDX-License-Identifier: Apache-2.0
/** berth-exec against a fake worker, as a plain user. */
import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { encodeFrame, type Fields, Tag, Type } from '../../../src/worker/frame.js'
import { suite } from '../../suite.js'
import { CHECKOUT, compileFake, FakeWorker, makeDirectory, type Rule, until } from './fake.js'

const EXEC = 2
const NO_NEW_PRIVS = 1
const CLONE_NEWNS = 0x20000
const CLONE_NEWUSER = 0x10000000
/** Debian's `nobody`; any uid that is not root's does. */
const USER = 65534

const test = suite('launcher')
const directory = makeDirectory()
const launcher = process.env.BERTH_TEST_LAUNCHER ?? join(CHECKOUT, 'dist/berth-exec')
const program = compileFake(directory.path)
let sockets = 0

interface Told {
  status: number | null
  signal: string | null
  stdout: string
  stderr: string
  fake: FakeWorker
}

interface Start {
  env?: NodeJS.ProcessEnv
  cwd?: string
  uid?: number
  argv0?: string | null
}

function environment(socket: string, start: Start): NodeJS.ProcessEnv {
  const argv0 = start.argv0 === null ? {} : { SLURM_BERTH_ARGV0: start.argv0 ?? 'sh' }
  // Read by the sanitizers alone: what the launcher holds when it fails ends with it.
  const sanitizers = { ASAN_OPTIONS: 'detect_leaks=0' }
  return { PATH: '/usr/bin:/bin', BERTH_SOCKET: socket, ...sanitizers, ...argv0, ...start.env }
}

/** Runs the launcher as Slurm would, in the place of `sh ARGS`. */
async function launch(rules: readonly Rule[], args: readonly string[], start: Start = {}): Promise<Told> {
  const socket = join(directory.path, `s${sockets++}`)
  const fake = await FakeWorker.start(program, directory.path, socket, rules)
  try {
    const uid = start.uid ?? USER
    const child = spawn(launcher, [...args], {
      uid,
      gid: uid,
      env: environment(socket, start),
      cwd: start.cwd ?? '/',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const [status, signal] = await new Promise<[number | null, string | null]>((resolve) =>
      child.on('close', (code, name) => resolve([code, name])),
    )
    return { status, signal, stdout, stderr, fake }
  } finally {
    await fake.stop()
  }
}

const answer = (type: (typeof Type)[keyof typeof Type], fields: Fields = []) => ({
  send: encodeFrame(type, fields),
})
const bare = (...fields: Fields) => answer(Type.JOIN, [[Tag.FLAGS, EXEC], ...fields])

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
      env: { ...environment('', {}), BERTH_SOCKET },
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
  const told = await launch([[Type.HELLO, 'close']], ['-c', 'echo ran'])
  assert.is(told.status, 125)
  assert.match(told.stderr, /BERTH_ENOWORKER.*several times/)
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

test('environment: unset, then set, then defaults; its own variables go', async () => {
  const edits = bare(
    [Tag.ENV_SET, 'A=image'],
    [Tag.ENV_DEFAULT, 'B=default'],
    [Tag.ENV_DEFAULT, 'C=default'],
    [Tag.ENV_UNSET, 'LANG'],
    [Tag.ENV_SET, 'D=x=y'],
  )
  const script = 'echo "$A $B $C $D $KEPT"; env | grep -c -e ^LANG= -e ^BERTH_ -e ^SLURM_BERTH_'
  const env = { A: 'host', B: 'host', LANG: 'de_DE', KEPT: 'kept' }
  const told = await launch([[Type.HELLO, edits]], ['-c', script], { env })
  assert.is(told.stdout, 'image host default x=y kept\n0\n')
})

test('the command is looked up in the PATH of its own environment', async () => {
  const tools = join(directory.path, 'tools')
  mkdirSync(tools, { recursive: true })
  copyFileSync('/bin/echo', join(tools, 'only-here'))
  const told = await launch([[Type.HELLO, bare([Tag.ENV_SET, `PATH=/nowhere:${tools}`])]], ['hi'], {
    argv0: 'only-here',
  })
  assert.is(told.stdout, 'hi\n')
})

test('a command that is not there: 127 and the PATH that was searched', async () => {
  const told = await launch([[Type.HELLO, bare()]], [], { argv0: 'no-such-tool' })
  assert.is(told.status, 127)
  assert.is(
    told.stderr,
    'berth: error[BERTH_ECOMMAND]: no-such-tool: not found in the container, PATH=/usr/bin:/bin\nhint: name a program of the image, or add its directory to PATH\n',
  )
})

test('what cannot be executed: 126 and why', async () => {
  const at = directory.path
  const files: [string, string | Buffer, number, RegExp][] = [
    ['plain', 'data', 0o644, /plain: Permission denied/],
    ['nobash', '#!/no/such/interpreter\n', 0o755, /interpreter or dynamic loader is missing/],
    [
      'alien',
      Buffer.concat([Buffer.from('\x7fELF'), Buffer.alloc(60)]),
      0o755,
      /built for another processor/,
    ],
  ]
  for (const [name, text, mode, words] of files) {
    writeFileSync(join(at, name), text)
    chmodSync(join(at, name), mode)
    const told = await launch([[Type.HELLO, bare()]], [], { argv0: join(at, name) })
    assert.match(told.stderr, words)
    assert.is(told.status, 126, name)
  }
  const told = await launch([[Type.HELLO, bare()]], [], { argv0: at })
  assert.match(told.stderr, /is a directory/)
})

test('a script without #! is run by sh, as execvp does', async () => {
  const script = join(directory.path, 'script')
  writeFileSync(script, 'echo script "$0" "$1"\n', { mode: 0o755 })
  const told = await launch([[Type.HELLO, bare()]], ['arg'], { argv0: script })
  assert.is(told.stdout, `script ${script} arg\n`)
})

test('the working directory that is not there', async () => {
  const told = await launch([[Type.HELLO, bare([Tag.CWD, '/pyxis'])]], ['-c', 'echo ran'])
  assert.match(told.stderr, /^berth: .*couldn't chdir to \/pyxis: No such file or directory\n/)
  assert.is(told.status, 125)
  assert.is(told.stdout, '')
})

test('words of the answer come before the command line', async () => {
  const told = await launch([[Type.HELLO, bare([Tag.ARGV, 'echo'], [Tag.ARGV, '--'])]], ['-c', 'x'])
  assert.is(told.stdout, '-- sh -c x\n')
})

test('joins the namespaces it is given, with no new privileges', async () => {
  // A user namespace that belongs to the user, as the worker's are.
  const holder = spawn('unshare', ['--user', '--mount', '--map-current-user', 'sleep', '60'], {
    uid: USER,
    gid: USER,
    stdio: 'ignore',
  })
  try {
    const pid = await until('the namespaces', () => {
      const at = `/proc/${holder.pid}/ns/user`
      return (
        holder.pid !== undefined &&
        readlinkSync(at) !== readlinkSync('/proc/self/ns/user') &&
        readFileSync(`/proc/${holder.pid}/comm`, 'utf8') === 'sleep\n' &&
        holder.pid
      )
    })
    const join: Rule = [
      Type.HELLO,
      { fd: `/proc/${pid}/ns/user` },
      { fd: `/proc/${pid}/ns/mnt` },
      answer(Type.JOIN, [
        [Tag.NS, CLONE_NEWUSER],
        [Tag.NS, CLONE_NEWNS],
        [Tag.CWD, '/usr'],
        [Tag.FLAGS, NO_NEW_PRIVS],
      ]),
    ]
    const script =
      'readlink /proc/self/ns/user /proc/self/ns/mnt; pwd; grep NoNewPrivs /proc/self/status; ls -l /proc/$$/fd | grep -c -e mnt: -e user: -e worker'
    const told = await launch([join], ['-c', script])
    const wanted = ['user', 'mnt'].map((name) => readlinkSync(`/proc/${pid}/ns/${name}`))
    assert.is(told.stderr, '')
    assert.equal(told.stdout.split('\n'), [...wanted, '/usr', 'NoNewPrivs:\t1', '0', ''])
  } finally {
    holder.kill('SIGKILL')
  }
})

test('as many namespaces as descriptors, or nothing runs', async () => {
  const told = await launch(
    [[Type.HELLO, { fd: '/proc/self/ns/mnt' }, answer(Type.JOIN)]],
    ['-c', 'echo ran'],
  )
  assert.is(told.stdout, '')
  assert.match(told.stderr, /BERTH_EPROTOCOL/)
})

test('a seccomp filter of the worker is active in the command', async () => {
  // BPF_RET | BPF_K, SECCOMP_RET_ALLOW
  const allow = Buffer.from('0600000000 00ff7f'.replace(' ', ''), 'hex')
  const told = await launch([[Type.HELLO, bare([Tag.FLAGS, EXEC], [Tag.SECCOMP, allow])]], ['-c', 'true'])
  // Without no_new_privs the kernel refuses a user's filter.
  assert.match(told.stderr, /seccomp filter: Permission denied/)
  const fields: Fields = [
    [Tag.FLAGS, EXEC | NO_NEW_PRIVS],
    [Tag.SECCOMP, allow],
  ]
  const filtered = await launch(
    [[Type.HELLO, answer(Type.JOIN, fields)]],
    ['-c', 'grep Seccomp: /proc/self/status'],
  )
  assert.is(filtered.stdout, 'Seccomp:\t2\n')
})

test('inherited descriptors reach the command, its own do not', async () => {
  const socket = join(directory.path, `s${sockets++}`)
  const fake = await FakeWorker.start(program, directory.path, socket, [[Type.HELLO, bare()]])
  const inherited = openSync('/etc/hostname', 'r')
  const told = spawn(launcher, ['-c', 'cat <&9; ls -l /proc/$$/fd | grep -c socket'], {
    env: environment(socket, {}),
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
  const socket = join(directory.path, `s${sockets++}`)
  const fake = await FakeWorker.start(program, directory.path, socket, [[Type.HELLO]])
  const child = spawn(launcher, ['-c', 'echo ran'], { env: environment(socket, {}), stdio: 'ignore' })
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
