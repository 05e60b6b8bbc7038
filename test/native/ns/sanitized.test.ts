// SPDX-License-Identifier: Apache-2.0
/** The C++ core alone, compiled with AddressSanitizer and UndefinedBehaviorSanitizer, used from several threads. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
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
  const rooms = execFileSync(process.execPath, [join(native, 'rooms.mjs')], { encoding: 'utf8' })
  const sources = rooms.split(/\s/).filter((name) => /\/(ns|ipc|host)-\d/.test(name))
  const program = join(folder, 'exercise')
  const inputs = [
    join(import.meta.dirname, 'exercise.cc'),
    join(import.meta.dirname, 'killed_worker.cc'),
    // Marks what berth itself put into a container.
    join(native, 'core/squash/sha256.cc'),
    ...sources.map((name) => join(native, '..', name)),
  ]
  const compiled = spawnSync('clang++', [...FLAGS, ...CHECKS, '-o', program, ...inputs], { encoding: 'utf8' })
  assert.is(compiled.status, 0, compiled.stderr)
  const done = spawnSync(program, [], { encoding: 'utf8', timeout: 240_000 })
  assert.is(done.stdout, 'ok\n', done.stderr)
  assert.is(done.status, 0, done.stderr)
})

test.run()
