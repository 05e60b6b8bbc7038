// SPDX-License-Identifier: Apache-2.0
/** Root removes what a user wrote, while the user still writes: nothing beside it is ever touched. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { NativeError } from '../../../src/native.js'
import { Containers } from '../../../src/store/containers.js'
import { suite } from '../../suite.js'
import { loadNative, missing, until } from '../ns/lab.js'

const test = suite('remove tree')
const needs = missing()
const native = needs === undefined ? loadNative() : (undefined as never)
const folder = fs.mkdtempSync(join(tmpdir(), 'berth-remove-'))
const path = (name: string) => join(folder, name)
const FACTS = { creator: 'ab', image: { key: 'sha256-1-f1', reference: 'docker.io/library/x:1' } }
const ROUNDS = 10
const OUTSIDE = 100
/** Beyond PATH_MAX, and beyond the descriptors that a process may have by default. */
const LEVELS = 3000

async function refusal(work: Promise<void>): Promise<NativeError> {
  try {
    await work
  } catch (error) {
    return error as NativeError
  }
  throw new Error('it worked')
}

/** Each level is made in the one above it, so that no path is too long. */
const DEEPEN = `const fs = require('node:fs')
process.chdir(process.argv[1])
for (let level = 0; level < Number(process.argv[2]); level++) {
  fs.writeFileSync('file', 'x'); fs.mkdirSync('directory'); process.chdir('directory')
}`

const CORE = join(import.meta.dirname, '../../../native/core')
const CALLS = ['fdopendir', 'readdir', 'unlinkat', 'renameat', 'syscall']
const FLAGS = [
  ...['-std=gnu++20', '-D_GNU_SOURCE', '-O0', '-Wall', '-Wextra', '-Werror', `-I${join(CORE, '..')}`],
  ...['-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
]

test.after(() => fs.rmSync(folder, { recursive: true, force: true }))

function makeContainer(name: string): { containers: Containers; upper: string; bury: () => string } {
  const store = path(name)
  fs.mkdirSync(store)
  const containers = new Containers(store, native)
  const made = containers.create({ uid: 1000, scope: 'global', name: 'x' }, FACTS)
  const upper = join(made.path, 'upper')
  fs.mkdirSync(upper)
  return { containers, upper, bury: () => containers.bury(made) }
}

function fill(directory: string, count: number): string[] {
  fs.mkdirSync(directory, { recursive: true })
  const names = Array.from({ length: count }, (_, at) => `file-${at}`)
  for (const name of names) fs.writeFileSync(join(directory, name), 'x')
  return names
}

const SWAP = `const { renameSync, symlinkSync, unlinkSync, writeSync } = require('node:fs')
process.chdir(process.argv[1])
for (let turn = 0; ; turn++) {
  try {
    renameSync('d', 'e'); symlinkSync(process.argv[2], 'd')
    if (turn === 0) writeSync(1, 'swaps')
    unlinkSync('d'); renameSync('e', 'd')
  } catch { process.exit() }
}`

async function swapping(upper: string, outside: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['-e', SWAP, upper, outside], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  await until(() => child.exitCode !== null || child.signalCode !== null, 'it has ended')
}

test.needs(needs, 'a directory that its user swaps for a link leads nowhere else', async () => {
  const outside = fill(path('outside'), OUTSIDE)
  for (let round = 0; round < ROUNDS; round++) {
    const { containers, upper, bury } = makeContainer(`swapped-${round}`)
    fill(join(upper, 'd'), OUTSIDE)
    const child = await swapping(upper, path('outside'))
    await containers.discard(bury()).catch(() => undefined)
    await end(child)
    assert.equal(fs.readdirSync(path('outside')).sort(), [...outside].sort(), `round ${round}`)
    for (const left of fs.readdirSync(path(`swapped-${round}/containers/.trash`)))
      await containers.discard(path(`swapped-${round}/containers/.trash/${left}`))
  }
})

test.needs(needs, 'a swap before each call of the removal changes nothing outside', () => {
  const program = path('swapped')
  const sources = ['host/remove_tree.cc', 'host/open_tree.cc', 'ns/kernel.cc'].map((name) => join(CORE, name))
  const wrapped = CALLS.map((call) => `--wrap=${call}`).join(',')
  const driver = join(import.meta.dirname, 'swapped_tree.cc')
  execFileSync('clang++', [...FLAGS, `-Wl,${wrapped}`, '-o', program, driver, ...sources])
  // In memory: some thousand small trees.
  const room = fs.mkdtempSync('/dev/shm/berth-swapped-')
  try {
    const done = spawnSync(program, [join(room, 'room')], { encoding: 'utf8' })
    assert.is(done.stderr, '')
    const lines = done.stdout.trim().split('\n')
    assert.equal(
      lines.filter((line) => line.startsWith('wrong:')),
      [],
    )
    const kinds = lines.map((line) => Number(/: (\d+) calls$/.exec(line)?.[1]))
    assert.is(kinds.filter((calls) => calls > 40).length, 6, done.stdout)
    assert.is(lines.at(-1), 'stubborn: somebody still writes there')
  } finally {
    fs.rmSync(room, { recursive: true })
  }
})

test.needs(needs, 'what nobody could name by a path goes too, with few descriptors', async () => {
  const { containers, upper, bury } = makeContainer('deep')
  execFileSync(process.execPath, ['-e', DEEPEN, upper, String(LEVELS)])
  const before = fs.readdirSync('/proc/self/fd').length
  let most = 0
  const timer = setInterval(() => {
    most = Math.max(most, fs.readdirSync('/proc/self/fd').length)
  }, 1)
  await containers.discard(bury())
  clearInterval(timer)
  assert.ok(most < before + 50, `${most} descriptors, ${before} before`)
  assert.equal(fs.readdirSync(path('deep/containers/.trash')), [])
})

test.needs(needs, 'whoever owns it and whatever its modes, all of it goes; none is no error', async () => {
  const { containers, upper, bury } = makeContainer('owned')
  fill(join(upper, 'closed/below'), 3)
  fs.symlinkSync('/etc', join(upper, 'closed/link'))
  execFileSync('mkfifo', [join(upper, 'pipe')])
  execFileSync('mknod', [join(upper, 'whiteout'), 'c', '0', '0'])
  execFileSync('chown', ['-hR', '12345:12345', upper])
  fs.chmodSync(join(upper, 'closed/below'), 0)
  fs.chmodSync(join(upper, 'closed'), 0o1000)
  const grave = bury()
  await containers.discard(grave)
  assert.is(fs.existsSync(grave), false)
  await containers.discard(grave)
})

test.needs(needs, 'what cannot be removed is told by call and path', async () => {
  const { containers, upper, bury } = makeContainer('kept')
  fill(join(upper, 'd'), 3)
  const grave = bury()
  const file = join(grave, 'upper/d/file-1')
  const changed = spawnSync('chattr', ['+i', file])
  if (changed.status !== 0) return
  try {
    const error = await refusal(containers.discard(grave))
    assert.equal([error.code, error.syscall, error.path], ['EPERM', 'unlinkat', file])
  } finally {
    execFileSync('chattr', ['-i', file])
  }
  await containers.discard(grave)
  assert.is(fs.existsSync(grave), false)
})

test.needs(needs, 'what is mounted there stays, and is not counted', async () => {
  const { containers, upper, bury } = makeContainer('mounted')
  fs.mkdirSync(join(upper, 'at'))
  const grave = bury()
  const at = join(grave, 'upper/at')
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', at])
  try {
    fs.writeFileSync(join(at, 'kept'), Buffer.alloc(1 << 20))
    assert.ok((await native.treeSize(grave)) < 1 << 20)
    const error = await refusal(containers.discard(grave))
    assert.equal([error.code, error.path], ['EXDEV', at])
    assert.equal(fs.readdirSync(at), ['kept'])
  } finally {
    execFileSync('umount', [at])
  }
})

test.needs(needs, 'a size is what is below, and nothing that a link leads to', async () => {
  const { upper } = makeContainer('sized')
  fs.mkdirSync(join(upper, 'a/b'), { recursive: true })
  fs.writeFileSync(join(upper, 'a/b/file'), Buffer.alloc(1 << 20, 'x'))
  fs.symlinkSync('/usr', join(upper, 'a/usr'))
  const blocks = Number(
    execFileSync('du', ['-s', '--block-size=512', upper], { encoding: 'utf8' }).split('\t')[0],
  )
  const own = fs.statSync(upper).blocks
  assert.is(await native.treeSize(upper), (blocks - own) * 512)
  assert.is(await native.treeSize(join(upper, 'absent')), 0)
  assert.is(await native.treeSize(join(upper, 'a/usr')), 0)
})

test.run()
