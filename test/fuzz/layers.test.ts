// SPDX-License-Identifier: Apache-2.0
/** A short run of the fuzzer over the layer converter; longer ones: build/test-squash/fuzz/layers_fuzz DIRECTORY. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { build } from '../native/squash/workbench.js'
import { suite } from '../suite.js'

const SECONDS = 15

const test = suite('layer fuzzer')
const missing = ['clang++', 'zstd'].filter((name) => spawnSync(name, ['--version']).status !== 0).join(', ')
const directory = mkdtempSync(join(tmpdir(), 'berth-fuzz-'))

test.after(() => rmSync(directory, { recursive: true, force: true }))

test.needs(missing, `${SECONDS} s of fuzzing find no crash, hang or image that the verifier refuses`, () => {
  Object.assign(process.env, { CXX: 'clang++', WITH_READER: '1' })
  const program = build(
    'fuzz/layers_fuzz.cc',
    'fuzz',
    '-fsanitize=fuzzer,address,undefined',
    '-fno-sanitize-recover=all',
  )
  const corpus = join(directory, 'corpus')
  execFileSync(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'layers_seeds.ts'), corpus])
  const limits = [`-max_total_time=${SECONDS}`, '-max_len=40000', '-timeout=20', '-rss_limit_mb=1500']
  const done = spawnSync(program, [...limits, '-verbosity=0', `-artifact_prefix=${directory}/`, corpus], {
    encoding: 'utf8',
  })
  assert.is(done.status, 0, done.stderr.slice(-3000))
})

test.run()
