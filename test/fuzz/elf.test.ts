// SPDX-License-Identifier: Apache-2.0
/** The fuzzer over the ELF reader. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build, FUZZ_TARGET } from '../native/squash/workbench.js'
import { suite } from '../suite.js'
import { fuzz } from './fuzzer.js'

const RUNS = 20_000
const ELF = ['elf', 'needed_watch', 'scan'].map((name) => `../native/core/elf/${name}.cc`)

const test = suite('ELF fuzzer')
const missing = spawnSync('clang++', ['--version']).status === 0 ? '' : 'clang++'
const directory = mkdtempSync(join(tmpdir(), 'berth-fuzz-'))

test.after(() => rmSync(directory, { recursive: true, force: true }))

test.needs(missing, 'fuzzing finds no crash, hang or facts above the limits', () => {
  const corpus = join(directory, 'corpus')
  writeSeeds(corpus)
  fuzz({
    program: build('fuzz/elf_fuzz.cc', { flavour: 'sanitized', link: FUZZ_TARGET, more: ELF }),
    corpus,
    runs: RUNS,
    inputBytesMax: 40_000,
    memoryMbMax: 1500,
  })
})

/** A small library and a program that needs it, once for each way to read them or to see them pass. */
function writeSeeds(corpus: string): void {
  mkdirSync(corpus)
  const source = join(directory, 's.c')
  writeFileSync(source, '#include <stdio.h>\nint MPI_Init(void) { return puts("version 1"); }\n')
  const flags = ['-shared', '-fPIC', '-s', '-Wl,-soname,libmpi.so.12', '-Wl,-rpath,$ORIGIN/../x']
  const hashes = ['gnu', 'sysv', 'both']
  for (const hash of hashes) {
    const library = join(directory, `${hash}.so`)
    execFileSync('clang++', [...flags, `-Wl,--hash-style=${hash}`, '-x', 'c', source, '-o', library])
    const bytes = readFileSync(library)
    for (const way of [0, 1, 2, 3, 6])
      writeFileSync(join(corpus, `${hash}-${way}`), Buffer.concat([Buffer.from([way]), bytes]))
  }
}

test.run()
