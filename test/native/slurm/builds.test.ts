// SPDX-License-Identifier: Apache-2.0
/** slurm/ passes gcc's analyzer, and launcher and keeper keep their promises under the sanitizers. */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { wordsFor } from '../../compile.js'
import { suite } from '../../suite.js'
import { CHECKOUT, makeDirectory } from './fake.js'

const test = suite('builds')
const directory = makeDirectory()

function build(type: string): string {
  const at = join(directory.path, type)
  const configure = spawnSync('cmake', [
    '-S',
    join(CHECKOUT, 'slurm'),
    '-B',
    at,
    `-DCMAKE_BUILD_TYPE=${type}`,
  ])
  assert.is(configure.status, 0, String(configure.stderr))
  const made = spawnSync('cmake', ['--build', at, '--parallel', '2'], {
    encoding: 'utf8',
    maxBuffer: 1 << 24,
  })
  assert.is(made.status, 0, made.stdout + made.stderr)
  return at
}

test('gcc -fanalyzer has nothing to say', () => {
  build('Analyze')
})

test('launcher and keeper under address and undefined-behaviour sanitizers', () => {
  const at = build('Sanitize')
  const env = {
    ...process.env,
    BERTH_TEST_LAUNCHER: join(at, 'berth-exec'),
    BERTH_TEST_KEEPER: join(at, 'berth-keeper'),
  }
  for (const name of ['launcher', 'command', 'keeper']) {
    const file = join(import.meta.dirname, `${name}.test.ts`)
    const told = spawnSync(process.execPath, wordsFor(file), { env, encoding: 'utf8' })
    assert.is(told.status, 0, told.stdout + told.stderr)
  }
})

test('every part compiles with a C library as old as glibc 2.31', () => {
  const sources = readdirSync(join(CHECKOUT, 'slurm')).filter((name) => name.endsWith('.c'))
  // It closes descriptors by a call of its own.
  assert.ok(sources.length > 40)
  const flags = ['-std=c11', '-D_GNU_SOURCE', '-Werror', '-fsyntax-only', '-include']
  const told = spawnSync('cc', [...flags, join(import.meta.dirname, 'old_libc.h'), ...sources], {
    cwd: join(CHECKOUT, 'slurm'),
    encoding: 'utf8',
  })
  assert.is(told.status, 0, told.stderr)
})

test('the plugin offers Slurm its hooks and nothing else', () => {
  const listed = spawnSync('nm', ['-D', '--defined-only', join(CHECKOUT, 'dist/berth.so')], {
    encoding: 'utf8',
  }).stdout
  const names = listed.split('\n').map((line) => line.split(' ')[2] ?? '')
  for (const name of names.filter((name) => name !== ''))
    assert.match(name, /^(slurm_spank_|(spank_)?plugin_)/)
  // Hooks that would cost every job, or where a failure drains the node.
  for (const name of [
    'slurm_spank_user_init',
    'slurm_spank_task_post_fork',
    'slurm_spank_job_prolog',
    'slurm_spank_job_epilog',
  ])
    assert.not.ok(names.includes(name), name)
})

test.after(() => directory.remove())
test.run()
