// SPDX-License-Identifier: Apache-2.0
/** The C++ core alone, compiled with AddressSanitizer and UndefinedBehaviorSanitizer, used from several threads. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.js'

const test = suite('core under sanitizers')
const native = join(import.meta.dirname, '../../../native')
const folder = mkdtempSync(join(tmpdir(), 'berth-sanitized-'))
const needs = process.getuid?.() === 0 ? undefined : 'needs root'
const FLAGS = [
  '-std=gnu++20',
  '-D_GNU_SOURCE',
  '-gline-tables-only',
  '-O0',
  '-Wall',
  '-Wextra',
  '-Werror',
  `-I${native}`,
]
const CHECKS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']

test.after(() => rmSync(folder, { recursive: true, force: true }))

test.needs(needs, 'building, failing and passing descriptors neither leaks nor reads astray', () => {
  const rooms = ['core/ns', 'core/ipc', 'core/host'].map((room) => join(native, room))
  const sources = rooms.flatMap((room) => readdirSync(room).map((name) => join(room, name)))
  const program = join(folder, 'exercise')
  const inputs = [
    join(import.meta.dirname, 'exercise.cc'),
    // Marks what berth itself put into a container.
    join(native, 'core/squash/sha256.cc'),
    ...sources.filter((name) => name.endsWith('.cc')),
  ]
  const compiled = spawnSync('clang++', [...FLAGS, ...CHECKS, '-o', program, ...inputs], { encoding: 'utf8' })
  assert.is(compiled.status, 0, compiled.stderr)
  const done = spawnSync(program, [], { encoding: 'utf8', timeout: 60_000 })
  assert.is(done.stdout, 'ok\n', done.stderr)
  assert.is(done.status, 0, done.stderr)
})

test.run()
