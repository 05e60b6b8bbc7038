// SPDX-License-Identifier: Apache-2.0
/** A short run of the fuzzer over the ELF reader; longer ones: build/test-squash/elf-fuzz/elf_fuzz DIRECTORY. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.js'

const SECONDS = 10
const ROOT = join(import.meta.dirname, '../..')

const test = suite('ELF fuzzer')
const missing = spawnSync('clang++', ['--version']).status === 0 ? '' : 'clang++'
const directory = mkdtempSync(join(tmpdir(), 'berth-fuzz-'))

test.after(() => rmSync(directory, { recursive: true, force: true }))

test.needs(missing, `${SECONDS} s of fuzzing find no crash, hang or facts above the limits`, () => {
  const corpus = join(directory, 'corpus')
  writeSeeds(corpus)
  const program = buildFuzzer()
  const limits = [`-max_total_time=${SECONDS}`, '-max_len=40000', '-timeout=20', '-rss_limit_mb=1500']
  const done = spawnSync(program, [...limits, '-verbosity=0', `-artifact_prefix=${directory}/`, corpus], {
    encoding: 'utf8',
  })
  assert.is(done.status, 0, done.stderr.slice(-3000))
})

/** A small library and a program that needs it, once for each way to read them. */
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
    for (const way of [0, 1, 2])
      writeFileSync(join(corpus, `${hash}-${way}`), Buffer.concat([Buffer.from([way]), bytes]))
  }
}

function buildFuzzer(): string {
  const folder = join(ROOT, 'build/test-squash/elf-fuzz')
  mkdirSync(folder, { recursive: true })
  const program = join(folder, 'elf_fuzz')
  const core = ['elf', 'squash'].map((part) => join(ROOT, 'native/core', part))
  const [elf = '', squash = ''] = core
  const reader = execFileSync('grep', ['-lr', '--include=*.cc', '^namespace berth::unsquash', squash], {
    encoding: 'utf8',
  })
  const sources = [join(import.meta.dirname, 'elf_fuzz.cc'), join(elf, 'elf.cc'), join(elf, 'scan.cc')]
  const flags = [
    '-std=gnu++20',
    '-O1',
    '-g',
    `-I${join(ROOT, 'native')}`,
    '-fsanitize=fuzzer,address,undefined',
  ]
  const libraries = ['-lzstd', '-llz4', '-lz', '-lpthread']
  const all = [...sources, ...reader.trim().split('\n')]
  execFileSync('clang++', [...flags, '-fno-sanitize-recover=all', ...all, '-o', program, ...libraries])
  return program
}

test.run()
