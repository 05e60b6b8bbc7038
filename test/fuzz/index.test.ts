// SPDX-License-Identifier: Apache-2.0
/** The fuzzer over stored layers. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { wordsFor } from '../compile.js'
import { build, FUZZ_TARGET } from '../native/squash/workbench.js'
import { suite } from '../suite.js'
import { fuzz } from './fuzzer.js'

const RUNS = 1000

const test = suite('stored layer fuzzer')
const missing = spawnSync('clang++', ['--version']).status === 0 ? '' : 'clang++'
const directory = mkdtempSync(join(tmpdir(), 'berth-fuzz-'))

test.after(() => rmSync(directory, { recursive: true, force: true }))

test.needs(missing, 'fuzzing finds no crash, hang or image that the verifier refuses', () => {
  const corpus = join(directory, 'corpus')
  const seeds = join(import.meta.dirname, 'index_seeds.ts')
  execFileSync(process.execPath, [...wordsFor(seeds), build(), corpus])
  const program = build('fuzz/index_fuzz.cc', { flavour: 'sanitized', link: FUZZ_TARGET })
  fuzz({ program, corpus, runs: RUNS, inputBytesMax: 40_000, memoryMbMax: 1500 })
})

test.run()
