// SPDX-License-Identifier: Apache-2.0
/** The fuzzer over the layer converter. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { wordsFor } from '../compile.js'
import { build, FUZZ_TARGET } from '../native/squash/workbench.js'
import { suite } from '../suite.js'
import { fuzz } from './fuzzer.js'

const RUNS = 500

const test = suite('layer fuzzer')
const missing = ['clang++', 'zstd'].filter((name) => spawnSync(name, ['--version']).status !== 0).join(', ')
const directory = mkdtempSync(join(tmpdir(), 'berth-fuzz-'))

test.after(() => rmSync(directory, { recursive: true, force: true }))

test.needs(missing, 'fuzzing finds no crash, hang or image that the verifier refuses', () => {
  const program = build('fuzz/layers_fuzz.cc', { flavour: 'sanitized', link: FUZZ_TARGET })
  const corpus = join(directory, 'corpus')
  execFileSync(process.execPath, [...wordsFor(join(import.meta.dirname, 'layers_seeds.ts')), corpus])
  fuzz({ program, corpus, runs: RUNS, inputBytesMax: 40_000, memoryMbMax: 1500 })
})

test.run()
