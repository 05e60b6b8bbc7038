// SPDX-License-Identifier: Apache-2.0
/** A short run of the fuzzer over stored layers; longer ones: build/test-squash/fuzz/index_fuzz DIRECTORY. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { build } from '../native/squash/workbench.js'
import { suite } from '../suite.js'

const SECONDS = 8

const test = suite('stored layer fuzzer')
const missing = spawnSync('clang++', ['--version']).status === 0 ? '' : 'clang++'
const directory = mkdtempSync(join(tmpdir(), 'berth-fuzz-'))

test.after(() => rmSync(directory, { recursive: true, force: true }))

test.needs(missing, `${SECONDS} s of fuzzing find no crash, hang or image that the verifier refuses`, () => {
  const corpus = join(directory, 'corpus')
  const seeds = join(import.meta.dirname, 'index_seeds.ts')
  execFileSync(process.execPath, ['--import', 'tsx', seeds, build(), corpus])
  // The objects and flags of the layer fuzzer.
  Object.assign(process.env, { CXX: 'clang++', WITH_READER: '1' })
  const flags = ['-fsanitize=fuzzer,address,undefined', '-fno-sanitize-recover=all']
  const program = build('fuzz/index_fuzz.cc', 'fuzz', ...flags)
  const limits = [`-max_total_time=${SECONDS}`, '-max_len=40000', '-timeout=60', '-rss_limit_mb=1500']
  const done = spawnSync(program, [...limits, '-verbosity=0', `-artifact_prefix=${directory}/`, corpus], {
    encoding: 'utf8',
  })
  assert.is(done.status, 0, done.stderr.slice(-3000))
})

test.run()
