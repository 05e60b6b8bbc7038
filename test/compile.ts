// SPDX-License-Identifier: Apache-2.0
/**
 * Makes JavaScript of test/ and src/ for one run: tsx, which does so in each process for the files it meets, costs
 * almost half a second of a processor at every start, and a run has some two hundred. A file goes by its source's name
 * all the same: import.meta is written into it, and stack traces are mapped back.
 */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { stop, transform } from 'esbuild'

const ROOT = resolve(import.meta.dirname, '..')
/** What tsx, too, takes from tsconfig.json. */
const OPTIONS = { target: 'ES2022', verbatimModuleSyntax: true } as const

/** For the processes that this one starts; what was made goes with it. */
export async function compileTests(): Promise<void> {
  mkdirSync(join(ROOT, 'build'), { recursive: true })
  // Below the checkout, where packages are found, and for users other than root too.
  const out = mkdtempSync(join(ROOT, 'build/tests-'))
  process.on('exit', () => rmSync(out, { recursive: true }))
  chmodSync(out, 0o755)
  const sources = ['src', 'test'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join(ROOT, folder, name)),
  )
  await Promise.all(sources.map((source) => compile(source, compiledIn(out, source))))
  await stop()
  process.env.BERTH_TEST_COMPILED = out
}

/** Words for node that run a source of test/ or src/: as it was compiled for this run, else by tsx. */
export function wordsFor(source: string): string[] {
  const out = process.env.BERTH_TEST_COMPILED
  if (out === undefined) return ['--import', 'tsx', source]
  return ['--enable-source-maps', compiledIn(out, source)]
}

function compiledIn(out: string, source: string): string {
  return join(out, relative(ROOT, source)).replace(/\.ts$/, '.js')
}

async function compile(source: string, target: string): Promise<void> {
  const { code } = await transform(readFileSync(source, 'utf8'), {
    loader: 'ts',
    format: 'esm',
    target: 'node20',
    sourcefile: source,
    sourcemap: 'inline',
    sourcesContent: false,
    tsconfigRaw: { compilerOptions: OPTIONS },
    define: {
      'import.meta.dirname': JSON.stringify(dirname(source)),
      'import.meta.filename': JSON.stringify(source),
      'import.meta.url': JSON.stringify(pathToFileURL(source).href),
    },
  })
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, code)
}
