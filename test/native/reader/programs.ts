// SPDX-License-Identifier: Apache-2.0
/** Compiles the C++ programs of this folder, with sanitizers or without; again only when a source changed. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'

const ROOT = join(import.meta.dirname, '../../..')
const CORE = join(ROOT, 'native/core/squash')
const LIBRARIES = ['-lz', '-lzstd', '-llz4', '-lpthread']
const WARNINGS = [
  '-std=c++20',
  '-Wall',
  '-Wextra',
  '-Werror',
  `-I${join(ROOT, 'native')}`,
  `-I${join(ROOT, 'test')}`,
]

interface Flavour {
  compiler: string
  flags: string[]
}

const FLAVOURS = {
  plain: { compiler: 'c++', flags: ['-O2'] },
  checked: {
    compiler: 'c++',
    flags: ['-g', '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
  },
  fuzzed: {
    compiler: 'clang++',
    flags: ['-g', '-O1', '-fsanitize=address,undefined,fuzzer', '-fno-sanitize-recover=all'],
  },
} as const satisfies Record<string, Flavour>

/** The reader's half of native/core/squash; the writer's files need more libraries. */
function coreSources(): string[] {
  return readdirSync(CORE)
    .filter((name) => /^(read|verify).*\.cc$/.test(name))
    .map((name) => join(CORE, name))
}

function newestHeader(): number {
  const headers = [CORE, join(ROOT, 'test/native/reader')].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => /^(read|verify|exercise|compare).*\.hh$/.test(name))
      .map((name) => statSync(join(folder, name)).mtimeMs),
  )
  return Math.max(...headers)
}

function isCurrent(output: string, inputs: number[]): boolean {
  const made = statSync(output, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return inputs.every((time) => time < made)
}

/** Answers the path of the program; throws with the compiler's words. */
export function buildProgram(
  flavourName: keyof typeof FLAVOURS,
  name: string,
  sources: readonly string[],
): string {
  const flavour = FLAVOURS[flavourName]
  const folder = join(ROOT, 'build/reader', flavourName)
  mkdirSync(folder, { recursive: true })
  const headers = newestHeader()
  const all = [...coreSources(), ...sources.map((source) => join(ROOT, 'test', source))]
  const objects = all.map((source) => join(folder, `${basename(source, '.cc')}.o`))
  const stale = all.filter((source, i) => !isCurrent(objects[i] ?? '', [statSync(source).mtimeMs, headers]))
  // xargs is the shortest way to use every core and fail when one compilation does.
  const compile = `${flavour.compiler} ${[...WARNINGS, ...flavour.flags].join(' ')} -c "$1" -o "${folder}/$(basename "$1" .cc).o"`
  run(
    'xargs',
    ['-r', '-d', '\\n', '-n', '1', '-P', String(availableParallelism()), 'sh', '-c', compile, 'sh'],
    stale,
  )
  const program = join(folder, name)
  run(flavour.compiler, [...flavour.flags, ...objects, '-o', program, ...LIBRARIES])
  return program
}

function run(command: string, args: string[], lines: string[] = []): void {
  const done = spawnSync(command, args, { input: lines.join('\n'), encoding: 'utf8' })
  if (done.status !== 0)
    throw new Error(`${command}: ${done.error?.message ?? ''}${done.stdout}${done.stderr}`)
}
