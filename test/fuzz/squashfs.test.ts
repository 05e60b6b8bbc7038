// SPDX-License-Identifier: Apache-2.0
/** The fuzzer over the squashfs reader. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasProgram, must } from '../native/reader/lab.js'
import { build, FUZZ_TARGET } from '../native/squash/workbench.js'
import { suite } from '../suite.js'
import { fuzz } from './fuzzer.js'

const RUNS = 4000

const test = suite('squashfs fuzzer')
const missing = ['clang++', 'mksquashfs'].filter((name) => !hasProgram(name)).join(', ')
const directory = mkdtempSync(join(tmpdir(), 'berth-fuzz-'))

test.after(() => rmSync(directory, { recursive: true, force: true }))

test.needs(missing, 'fuzzing finds no crash, hang or accepted image that cannot be read', () => {
  const corpus = join(directory, 'corpus')
  must('sh', join(import.meta.dirname, 'squashfs_seeds.sh'), corpus)
  const program = build('fuzz/squashfs_fuzz.cc', {
    flavour: 'sanitized',
    link: FUZZ_TARGET,
    more: ['native/reader/exercise.cc'],
  })
  fuzz({ program, corpus, runs: RUNS, inputBytesMax: 20_000, memoryMbMax: 1000 })
})

test.run()
