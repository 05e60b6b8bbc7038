// SPDX-License-Identifier: Apache-2.0
/**
 * The assembler under sanitizers: damaged images are refused or give a sound image, never a crash; and the process that
 * saves has no rights but reading what the user has written.
 */
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'
import { build } from '../squash/workbench.js'
import { missing, native, run, SaveLab } from './lab.js'

const test = suite('save hostile')
const lab = new SaveLab()
test.after(() => lab.close())

const ROUNDS = Number(process.env.BERTH_TEST_ROUNDS ?? 100)
const DIST = process.env.BERTH_TEST_DIST ?? join(import.meta.dirname, '../../../dist')
/** No account. */
const USER = 61_234
/** Directories below each other: more than there are descriptors for. */
const DEPTH = 60

/** The same numbers in every run: a failure can be repeated. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Tables of an uncompressed image are bytes that a flipped bit changes the meaning of. */
function damaged(image: Buffer, next: () => number): Buffer {
  const copy = Buffer.from(image)
  const tables = Number(copy.readBigUInt64LE(64))
  for (let i = 0; i < 1 + Math.floor(next() * 4); i++) {
    const from = next() < 0.2 ? 0 : tables
    const end = from === 0 ? 96 : copy.length
    copy[from + Math.floor(next() * (end - from))] = Math.floor(next() * 256)
  }
  return copy
}

test.needs(missing, `${ROUNDS} damaged images: refused, or saved soundly`, () => {
  const program = build('native/save/assemble_cli.cc', { flavour: 'sanitized' })
  const tree =
    lab.tree(`cd $T; mkdir -p a/b c; seq 1 30000 > a/big; for i in $(seq 1 40); do echo $i > a/b/$i; done
    ln a/big c/link; ln -s ../a c/to; truncate -s 300000 c/hole; setfattr -n user.x -v y a/big; mkfifo c/p`)
  const base = lab.pack(
    tree,
    '-noI',
    '-noD',
    '-noF',
    '-noX',
    '-xattrs',
    '-always-use-fragments',
    '-b',
    '8192',
  )
  const { root, upper } = lab.overlay(base)
  run(
    'sh',
    '-euc',
    'cd "$1"; rm a/b/7; echo new > a/b/8; rm -r c; mkdir c; echo x > c/y; echo more >> a/big',
    'sh',
    root,
  )
  const image = fs.readFileSync(base)
  const next = random(7)
  const [input, output] = [lab.fresh('damaged'), lab.fresh('out')]
  let saved = 0
  for (let round = 0; round < ROUNDS; round++) {
    fs.writeFileSync(input, damaged(image, next))
    const done = spawnSync(program, [input, upper, output, 'c'], { encoding: 'utf8' })
    if (done.status === 0) saved++
    assert.ok(done.status === 0 || done.status === 1, `round ${round}: ${done.signal} ${done.stderr}`)
  }
  assert.ok(saved > 0 && saved < ROUNDS, `${saved} of ${ROUNDS}`)
})

/** Starts the saver and leaves it waiting for its order. */
async function waitingSaver(upper: string) {
  const base = lab.pack(lab.tree('cd $T; echo a > a'))
  const out = fs.openSync(lab.fresh('out'), 'wx+')
  const fds = [fs.openSync(base, 'r'), fs.openSync(upper, fs.constants.O_DIRECTORY), out]
  const [ours, theirs] = native.socketPair?.() ?? [-1, -1]
  const argv = [process.execPath, join(DIST, 'bin/saver.js'), '1000000', DIST]
  const saver = await native.startSaver?.({ argv, uid: USER, gid: USER, fds: [theirs, ...fds], upper: 2 })
  native.closeFd?.(theirs)
  let answer = ''
  const ended = new Promise<string>((resolve) => {
    const socket = native.adopt?.(ours, {
      data: (bytes) => {
        answer += bytes.toString('utf8')
      },
      closed: () => resolve(answer),
    })
    order = () => socket?.send(Buffer.from(`${JSON.stringify(ORDER)}\n`))
  })
  return { order: () => order(), ended, close: () => saver?.close() }
}

const ORDER = { compressor: 'zstd', level: 1, threads: 2, bytesMax: 1e9, entriesMax: 1e6, own: [], add: [] }
let order = (): void => undefined

function saverPid(): number {
  const own = String(process.pid)
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      const parent = /^PPid:\s+(\d+)$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
      if (parent === own && fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('bin/saver.js'))
        return Number(pid)
    } catch {
      // Gone meanwhile.
    }
  return 0
}

async function confined(): Promise<number> {
  for (;;) {
    const pid = saverPid()
    const status = pid === 0 ? '' : fs.readFileSync(`/proc/${pid}/status`, 'utf8')
    if (/^Seccomp:\s+2$/m.test(status)) return pid
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test.needs(
  missing,
  'the saver is the user, caged, with one capability over the files of its user',
  async () => {
    const upper = lab.tree(`cd $T; echo hidden > mine; chmod 000 mine; chown -R ${USER}:${USER} .`)
    const saver = await waitingSaver(upper)
    try {
      const pid = await confined()
      const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8')
      assert.match(status, new RegExp(`^Uid:\\s+${USER}\\s+${USER}\\s+${USER}\\s+${USER}$`, 'm'))
      assert.match(status, /^Groups:\s*$/m)
      assert.match(status, /^CapEff:\s+0{15}4$/m)
      assert.match(status, /^CapBnd:\s+0{16}$/m)
      assert.match(status, /^NoNewPrivs:\s+1$/m)
      const asUser = ['--reuid', String(USER), '--regid', String(USER), '--clear-groups', '--']
      for (const file of ['fd/4', 'fd/6', 'cwd', 'exe'])
        assert.is(spawnSync('setpriv', [...asUser, 'readlink', `/proc/${pid}/${file}`]).status, 1, file)
      saver.order()
      assert.ok(Number(JSON.parse(await saver.ended).size) > 0)
    } finally {
      saver.close()
    }
  },
)

test.needs(missing, "another account's file in the upper directory stays closed to it", async () => {
  const upper = lab.tree(`cd $T; echo secret > root; chmod 600 root; chown ${USER}:${USER} .`)
  const saver = await waitingSaver(upper)
  saver.order()
  const answer = JSON.parse(await saver.ended)
  saver.close()
  assert.is(answer.code, 'EACCES')
  assert.is(answer.path, 'root')
})

test.needs(
  missing,
  'without descriptors to find all opaque directories there is an error and no list',
  () => {
    const { upper } = lab.overlay(lab.pack(lab.tree('mkdir $T/a')))
    const deep = join(upper, 'd/'.repeat(DEPTH))
    fs.mkdirSync(deep, { recursive: true })
    run('setfattr', '-n', 'trusted.overlay.opaque', '-v', 'y', deep)
    const script = `
    const native = require(${JSON.stringify(join(DIST, 'berth.node'))})
    const [ours, theirs] = native.socketPair()
    const upper = require('node:fs').openSync(${JSON.stringify(upper)}, 'r')
    const argv = ['/bin/sh', '-c', 'cat <&5 >&3']
    native.startSaver({ argv, uid: ${USER}, gid: ${USER}, fds: [theirs, upper], upper: 1 }).then((saver) => {
      native.closeFd(theirs)
      native.adopt(ours, { data: (bytes) => process.stdout.write(bytes), closed: () => saver.close() })
    })`
    const answer = (files: number) =>
      spawnSync('prlimit', [`--nofile=${files}`, process.execPath, '-e', script], { encoding: 'utf8' }).stdout
    assert.is(answer(4096), `${'d/'.repeat(DEPTH).slice(0, -1)}\0`)
    assert.is(JSON.parse(answer(100)).error, constants.errno.EMFILE)
  },
)

test.run()
