// SPDX-License-Identifier: Apache-2.0
/** What berth-exec makes of a JOIN: namespaces, environment, directory, lookup, execution. */
import { spawn } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { type Fields, Flag, Tag, Type } from '../../../src/worker/frame.js'
import { suite } from '../../suite.js'
import { type Rule, until } from './fake.js'
import { answer, bare, directory, launch, USER } from './launch.js'

const CLONE_NEWNS = 0x20000
const CLONE_NEWUSER = 0x10000000

const test = suite('command')

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

test('a bare name that PATH has not is the working directory’s, as for Slurm itself', async () => {
  const file = join(directory.path, 'install.sh')
  writeFileSync(file, '#!/bin/sh\necho here "$@"\n', { mode: 0o755 })
  const start = { argv0: 'install.sh', cwd: directory.path }
  assert.is((await launch([[Type.HELLO, bare()]], ['a'], start)).stdout, 'here a\n')
  chmodSync(file, 0o644)
  const told = await launch([[Type.HELLO, bare()]], [], start)
  assert.is(told.status, 126)
  assert.match(told.stderr, /\.\/install\.sh: Permission denied/)
})

test('a command that is not there: 127 and the PATH that was searched', async () => {
  const told = await launch([[Type.HELLO, bare()]], [], { argv0: 'no-such-tool' })
  assert.is(told.status, 127)
  assert.is(
    told.stderr,
    'berth: error[BERTH_ECOMMAND]: no-such-tool: not found in the container, PATH=/usr/bin:/bin\nhint: name a program of the image, or add its directory to PATH\n',
  )
})

test('a file that is not there: how files of the node come in', async () => {
  const told = await launch([[Type.HELLO, bare()]], [], { argv0: './train.sh' })
  assert.is(told.status, 127)
  assert.match(
    told.stderr,
    /^berth: error\[BERTH_ECOMMAND\]: \.\/train\.sh: not found.*\nhint: .*--container-mount-cwd/,
  )
})

/** This node's sh, which asks for a loader that nobody has. */
function foreignLoader(): Buffer {
  const program = readFileSync('/bin/sh')
  const at = program.indexOf('/lib64/ld-linux')
  return Buffer.concat([program.subarray(0, at), Buffer.from('/lib65'), program.subarray(at + 6)])
}

test('what cannot be executed: 126 and why', async () => {
  const at = directory.path
  const files: [string, string | Buffer, number, RegExp][] = [
    ['plain', 'data', 0o644, /plain: Permission denied/],
    [
      'nobash',
      '#! /no/such/interpreter -x\n',
      0o755,
      /nobash: its interpreter \/no\/such\/interpreter is missing in the image\nhint: .*has \/no\/such\/interpreter\n/,
    ],
    [
      'windows',
      '#!/bin/sh\r\necho ran\r\n',
      0o755,
      /lines end as on Windows, .*\/bin\/sh\\r is.*\nhint: .*dos2unix/,
    ],
    ['noloader', foreignLoader(), 0o755, /noloader: its dynamic loader is missing in the image/],
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
        [Tag.FLAGS, Flag.NO_NEW_PRIVS],
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
  const told = await launch([[Type.HELLO, bare([Tag.SECCOMP, allow])]], ['-c', 'true'])
  // Without no_new_privs the kernel refuses a user's filter.
  assert.match(told.stderr, /seccomp filter: Permission denied/)
  const fields: Fields = [
    [Tag.FLAGS, Flag.BARE | Flag.NO_NEW_PRIVS],
    [Tag.SECCOMP, allow],
  ]
  const filtered = await launch(
    [[Type.HELLO, answer(Type.JOIN, fields)]],
    ['-c', 'grep Seccomp: /proc/self/status'],
  )
  assert.is(filtered.stdout, 'Seccomp:\t2\n')
})

test.after(() => directory.remove())
test.run()
