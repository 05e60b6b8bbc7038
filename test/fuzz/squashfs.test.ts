// SPDX-License-Identifier: Apache-2.0
/** A short run of the fuzzer over the squashfs reader; longer ones: build/reader/fuzzed/squashfs_fuzz DIRECTORY. */
import * as assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasProgram, must, run } from '../native/reader/lab.js'
import { buildProgram } from '../native/reader/programs.js'
import { suite } from '../suite.js'

const SECONDS = 15

const test = suite('squashfs fuzzer')
const missing = ['clang++', 'mksquashfs'].filter((name) => !hasProgram(name)).join(', ')
const directory = mkdtempSync(join(tmpdir(), 'berth-fuzz-'))

test.after(() => rmSync(directory, { recursive: true, force: true }))

test.needs(
  missing,
  `${SECONDS} s of fuzzing find no crash, hang or accepted image that cannot be read`,
  () => {
    const fuzz = buildProgram('fuzzed', 'squashfs_fuzz', [
      'fuzz/squashfs_fuzz.cc',
      'native/reader/exercise.cc',
    ])
    const corpus = join(directory, 'corpus')
    must('sh', join(import.meta.dirname, 'squashfs_seeds.sh'), corpus)
    const done = run(fuzz, [
      `-max_total_time=${SECONDS}`,
      '-max_len=20000',
      '-timeout=10',
      '-rss_limit_mb=1000',
      '-verbosity=0',
      `-artifact_prefix=${directory}/`,
      corpus,
    ])
    assert.equal(done.status, 0, done.stderr)
  },
)

test.run()
