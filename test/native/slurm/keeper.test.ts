// SPDX-License-Identifier: Apache-2.0
/** berth-keeper with a stand-in for node: starts on demand, restarts, and owes its starter nothing. */
import { spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { CHECKOUT, compile, makeDirectory, until } from './fake.js'

const test = suite('keeper')
const directory = makeDirectory()
const keeper = process.env.BERTH_TEST_KEEPER ?? join(CHECKOUT, 'dist/berth-keeper')
const node = compile(join(directory.path, 'node'), [join(import.meta.dirname, 'fake_node.c')])
const script = join(directory.path, 'worker.js')
writeFileSync(script, '')
let count = 0
const started: string[] = []

const notRoot = process.getuid?.() === 0 ? '' : 'root'

function makeRuntime(): string {
  const runtime = join(directory.path, `run${count++}`)
  started.push(runtime)
  return runtime
}

function keeperArguments(runtime: string, more: readonly string[] = []): string[] {
  return [`--runtime-dir=${runtime}`, `--node=${node}`, `--worker=${script}`, ...more]
}

function start(runtime: string, more: readonly string[] = []): number | null {
  return spawnSync(keeper, keeperArguments(runtime, more), { stdio: 'ignore', timeout: 60_000 }).status
}

/** What it tells its starter, when it cannot start. */
function refusal(runtime: string): string {
  const told = spawnSync(keeper, keeperArguments(runtime), { encoding: 'utf8', timeout: 60_000 })
  assert.is(told.status, 1, told.stdout)
  assert.not.ok(existsSync(join(runtime, 'worker.sock')))
  return told.stdout
}

/** Sends one letter to whoever listens and waits for the end of the connection. */
function say(runtime: string, letter: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(join(runtime, 'worker.sock'), () => socket.write(letter))
    socket.setEncoding('utf8').on('data', (text: string) => {
      answer += text
    })
    socket.on('error', reject).on('close', () => resolve(answer))
  })
}

const readPid = (runtime: string): number => Number(readFileSync(join(runtime, 'keeper.pid'), 'utf8'))
const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}/exe`) && !/\) Z /.test(stat(pid))
const stat = (pid: number): string =>
  existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : ') Z '
const report = (runtime: string): string => readFileSync(join(runtime, 'report'), 'utf8')

test.needs(notRoot, 'listens at once, starts the worker only for a connection', async () => {
  const runtime = makeRuntime()
  assert.is(start(runtime), 0)
  assert.is(statSync(join(runtime, 'worker.sock')).mode & 0o777, 0o666)
  assert.is(statSync(runtime).mode & 0o777, 0o755)
  assert.not.ok(existsSync(join(runtime, 'report')))
  const pid = await say(runtime, 'p')
  assert.ok(isAlive(Number(pid)))
  assert.is(await say(runtime, 'p'), pid, 'one worker serves all')
})

test.needs(notRoot, 'hands down its arguments and a clean process', async () => {
  const runtime = makeRuntime()
  const extra = openSync('/etc/hostname', 'r')
  const dirty = spawn(
    'sh',
    [
      '-c',
      'ulimit -Sn 64; umask 077; trap "" TERM PIPE; exec "$0" "$@"',
      ...[node, '--keyed', keeper],
      ...keeperArguments(runtime, ['--store=/s', '--idle=3']),
    ],
    {
      cwd: directory.path,
      env: { ...process.env, SECRET: 'x' },
      stdio: ['pipe', 'ignore', 'ignore', extra, extra],
    },
  )
  await new Promise((resolve) => dirty.on('close', resolve))
  closeSync(extra)
  const pid = await say(runtime, 'p')
  const told = report(runtime)
  const all = (word: string): string[] =>
    [...told.matchAll(new RegExp(`^${word} (.*)$`, 'gm'))].map(([, rest]) => rest ?? '')
  assert.equal(all('arg'), [
    '--max-semi-space-size=2',
    script,
    `--runtime-dir=${runtime}`,
    '--store=/s',
    '--idle=3',
  ])
  assert.equal(all('env').sort(), [
    'LANG=C.UTF-8',
    'LISTEN_FDS=1',
    `LISTEN_PID=${pid}`,
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'UV_THREADPOOL_SIZE=64',
  ])
  const unit = readFileSync(join(CHECKOUT, 'docs/operators/systemd/berth-worker.service'), 'utf8')
  assert.match(unit, /^Environment=UV_THREADPOOL_SIZE=64$/m, 'systemd gives the worker as many threads')
  assert.equal(all('fd'), ['0', '1', '2', '3'])
  assert.equal(all('key'), [], "the starter's keys are not for programs that it runs for users")
  assert.equal([all('cwd'), all('umask')], [['/'], ['22']])
  assert.ok(Number(all('files')[0]) > 64)
  assert.is.not(all('sid')[0], String(process.pid))
  assert.match(told, /SigBlk:\t0+\n/)
  // 32 and 33 are the C library's own and cannot be changed through it.
  assert.match(told, /SigIgn:\t0+\n/)
  assert.match(told, /oom_score_adj 0\n/)
})

test.needs(notRoot, 'a worker that was killed is started again by the next connection', async () => {
  const runtime = makeRuntime()
  start(runtime)
  const first = Number(await say(runtime, 'p'))
  process.kill(first, 'SIGKILL')
  await until('its end', () => !isAlive(first))
  const second = Number(await say(runtime, 'p'))
  assert.is.not(second, first)
  assert.match(readFileSync(join(runtime, 'worker.log'), 'utf8'), /worker killed by signal 9/)
})

test.needs(notRoot, 'an idle worker takes the keeper and the socket with it', async () => {
  const runtime = makeRuntime()
  start(runtime)
  const pid = readPid(runtime)
  await say(runtime, '0')
  await until('the end of the keeper', () => !isAlive(pid))
  assert.not.ok(existsSync(join(runtime, 'worker.sock')))
  assert.not.ok(existsSync(join(runtime, 'keeper.pid')))
  assert.is(start(runtime), 0, 'and another one can follow')
  assert.ok(Number(await say(runtime, 'p')) > 0)
})

test.needs(notRoot, 'no connection is lost while workers leave and keepers follow', async () => {
  const runtime = makeRuntime()
  start(runtime)
  const visit = async (letter: string): Promise<string> => {
    for (let attempt = 0; attempt < 50; attempt++) {
      try {
        return await say(runtime, letter)
      } catch {
        // Nobody listens, as for the shim: it starts another keeper.
        start(runtime)
      }
    }
    throw new Error('nobody came')
  }
  for (let round = 0; round < 20; round++) {
    const [, one, two] = await Promise.all([visit('0'), visit('p'), visit('p')])
    assert.ok(Number(one) > 0 && Number(two) > 0, `round ${round}: "${one}" "${two}"`)
  }
})

test.needs(notRoot, 'a worker that fails three times in a row ends it', async () => {
  const runtime = makeRuntime()
  start(runtime)
  const pid = readPid(runtime)
  for (let i = 0; i < 3; i++) await say(runtime, 'c').catch(() => '')
  await until('the end of the keeper', () => !isAlive(pid))
  assert.match(readFileSync(join(runtime, 'worker.log'), 'utf8'), /status 3\n(.*\n)*.*gives up/)
  assert.not.ok(existsSync(join(runtime, 'worker.sock')))
})

test.needs(notRoot, 'a worker that was told to end amid work leaves the socket, however often', async () => {
  const runtime = makeRuntime()
  start(runtime)
  const pid = readPid(runtime)
  for (let round = 0; round < 4; round++) {
    const worker = Number(await say(runtime, 'p'))
    await say(runtime, 't').catch(() => '')
    await until('its end', () => !isAlive(worker))
  }
  assert.ok(Number(await say(runtime, 'p')) > 0)
  assert.is(readPid(runtime), pid)
})

test.needs(notRoot, 'SIGTERM ends worker and keeper', async () => {
  const runtime = makeRuntime()
  start(runtime)
  const worker = Number(await say(runtime, 'p'))
  const pid = readPid(runtime)
  process.kill(pid, 'SIGTERM')
  await until('the end of both', () => !isAlive(pid) && !isAlive(worker))
  assert.not.ok(existsSync(join(runtime, 'worker.sock')))
})

test.needs(notRoot, 'a worker that cannot even be killed is waited for in rest', async () => {
  const runtime = makeRuntime()
  start(runtime)
  const holder = Number(await say(runtime, 'h'))
  const pid = readPid(runtime)
  process.kill(pid, 'SIGTERM')
  // Killed after ten seconds, in vain.
  const end = Date.now() + 11_500
  await until('some time after SIGKILL', () => Date.now() > end)
  const [user = '', system = ''] = stat(pid)
    .replace(/^.*\) /, '')
    .split(' ')
    .slice(11)
  process.kill(holder, 'SIGKILL')
  assert.ok(Number(user) + Number(system) < 10, `${user} and ${system} ticks`)
  await until('the end', () => !isAlive(pid))
})

test.needs(notRoot, 'two keepers started together: one stays, both starters are content', async () => {
  const runtime = makeRuntime()
  const both = [1, 2, 3, 4].map(
    () =>
      new Promise<number | null>((resolve) =>
        spawn(keeper, keeperArguments(runtime), { stdio: 'ignore' }).on('close', resolve),
      ),
  )
  assert.equal(await Promise.all(both), [0, 0, 0, 0])
  const pid = readPid(runtime)
  assert.ok(isAlive(pid))
  assert.is(start(runtime), 0)
  assert.is(readPid(runtime), pid)
})

test.needs(
  notRoot,
  'a worker that outlived its keeper is left in peace, a dead socket is replaced',
  async () => {
    const runtime = makeRuntime()
    start(runtime)
    const worker = Number(await say(runtime, 'p'))
    const first = readPid(runtime)
    process.kill(first, 'SIGKILL')
    await until('its end', () => !isAlive(first))
    assert.is(start(runtime), 0)
    assert.is(Number(await say(runtime, 'p')), worker)
    process.kill(worker, 'SIGKILL')
    await until('its end', () => !isAlive(worker))
    assert.is(start(runtime), 0)
    assert.is.not(Number(await say(runtime, 'p')), worker)
  },
)

test.needs(notRoot, 'why it cannot start is told to who started it, with what to do', () => {
  const open = makeRuntime()
  mkdirSync(open)
  chmodSync(open, 0o777)
  assert.is(refusal(open), `others than root can change ${open}: chown root ${open}; chmod go-w ${open}\n`)

  const file = makeRuntime()
  writeFileSync(file, '')
  assert.is(
    refusal(file),
    `${file} is no directory: remove it, or name another runtime_dir= in plugstack.conf\n`,
  )
  assert.match(refusal(join(file, 'below')), /^cannot create .*\/below: Not a directory\n$/)

  const locked = makeRuntime()
  mkdirSync(join(locked, 'keeper.lock'), { recursive: true })
  assert.match(refusal(locked), /^cannot open .*\/keeper\.lock: Is a directory\n$/)

  const logged = makeRuntime()
  mkdirSync(join(logged, 'worker.log'), { recursive: true })
  assert.match(refusal(logged), /^cannot write .*\/worker\.log: Is a directory\n$/)

  const taken = makeRuntime()
  mkdirSync(join(taken, 'worker.sock.new', 'full'), { recursive: true })
  assert.match(refusal(taken), /^cannot listen at .*\/worker\.sock: Address already in use\n$/)
})

test.needs(notRoot, 'makes the directories above its own, for all to enter, whatever the umask', () => {
  const above = makeRuntime()
  const runtime = join(above, 'a', 'b')
  started.push(runtime)
  const words = ['-c', 'umask 077; exec "$0" "$@"', keeper, ...keeperArguments(runtime)]
  assert.is(spawnSync('sh', words, { stdio: 'ignore', timeout: 60_000 }).status, 0)
  for (const made of [above, join(above, 'a'), runtime])
    assert.equal([statSync(made).uid, statSync(made).mode & 0o777], [0, 0o755], made)
})

test.needs(notRoot, 'a directory deeper than a socket address can say', async () => {
  const runtime = join(makeRuntime(), 'd'.repeat(60), 'e'.repeat(60))
  started.push(runtime)
  mkdirSync(runtime, { recursive: true })
  assert.is(start(runtime), 0)
  assert.ok(existsSync(join(runtime, 'worker.sock')))
  assert.is(start(runtime), 0, 'a second one finds the first')
})

const cgroup = ['/sys/fs/cgroup/freezer', '/sys/fs/cgroup'].find((path) =>
  existsSync(join(path, 'cgroup.procs')),
)

test.needs(
  notRoot || (cgroup === undefined ? 'a cgroup hierarchy' : ''),
  "leaves a step's cgroup",
  async () => {
    const runtime = makeRuntime()
    const group = join(cgroup ?? '', `slurm_berth_test_${process.pid}`)
    mkdirSync(group)
    try {
      const inside = `echo 0 > ${group}/cgroup.procs && exec "$0" "$@"`
      assert.is(
        spawnSync('sh', ['-c', inside, keeper, ...keeperArguments(runtime)], { stdio: 'ignore' }).status,
        0,
      )
      await say(runtime, 'p')
      assert.not.match(report(runtime), /slurm_berth_test/)
      assert.is(readFileSync(join(group, 'cgroup.procs'), 'utf8'), '')
    } finally {
      rmSync(group, { recursive: true, force: true, maxRetries: 0 })
    }
  },
)

test.after(async () => {
  for (const runtime of started) {
    if (!existsSync(join(runtime, 'keeper.pid'))) continue
    const pid = readPid(runtime)
    if (!isAlive(pid)) continue
    process.kill(pid, 'SIGTERM')
    await until('the end of a keeper', () => !isAlive(pid))
  }
  directory.remove()
})
test.needs(notRoot, 'a keeper that comes while another one leaves takes its place', async () => {
  const runtime = makeRuntime()
  mkdirSync(runtime, { mode: 0o755 })
  // One that has taken its socket away and still holds the lock.
  const file = join(runtime, 'keeper.lock')
  spawn('flock', [file, 'sleep', '0.5'], { stdio: 'ignore' })
  await until('the lock', () => spawnSync('flock', ['-n', file, 'true']).status === 1)
  assert.is(start(runtime), 0)
  await until('its socket', () => existsSync(join(runtime, 'worker.sock')))
  assert.ok(isAlive(readPid(runtime)))
})

test.needs(
  notRoot,
  'one whose directory was removed takes nothing from the one that came after it',
  async () => {
    for (const end of ['idle', 'SIGTERM']) {
      const runtime = makeRuntime()
      start(runtime)
      const first = readPid(runtime)
      // An error of the test must not keep it from ending.
      const client = connect(join(runtime, 'worker.sock')).unref()
      await until('its worker', () => existsSync(join(runtime, 'report')))
      rmSync(runtime, { recursive: true })
      assert.is(start(runtime), 0)
      const second = readPid(runtime)
      assert.is.not(second, first)
      if (end === 'idle') client.write('0')
      else process.kill(first, 'SIGTERM')
      await until('the end of the first', () => !isAlive(first))
      client.destroy()
      assert.ok(existsSync(join(runtime, 'worker.sock')), end)
      assert.is(readPid(runtime), second)
      assert.match(await say(runtime, 'p'), /^\d+/)
    }
  },
)

test.run()
