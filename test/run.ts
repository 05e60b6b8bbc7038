// SPDX-License-Identifier: Apache-2.0
/**
 * Runs the test files below the named folders of test/, one process each, so that a crash or a leaked handle in one
 * file cannot hide in another; one more at once than the machine has processors, for much of a cluster's time is waiting.
 * A file's output is printed in one piece when it ends. Last line: `N passed, N failed, N skipped`.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { compileTests, wordsFor } from './compile.js'
import { SKIP_MARK } from './suite.js'

/** One file may not hang the whole run: the slowest needs three minutes, and eight on a machine under heavy load. */
const FILE_TIME_MAX_MS = 600_000
/** Two lanes leave a quarter of two processors idle. More than this would make real daemons late for their own limits. */
const LANES_MAX = 4
/** Looks at the whole machine, so nothing else may run then. */
const ALONE = new Set(['leak'])
/** Of what a failed file said, told again at the end: CI systems keep the tail of a log. */
const RETOLD_MAX = 2500

interface Count {
  passed: number
  failed: number
  skipped: number
  /** What was said of failures; empty without one. */
  failure: string
}

function findTests(folder: string): string[] {
  if (!existsSync(folder)) return []
  const files: string[] = []
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) files.push(...findTests(path))
    else if (entry.name.endsWith('.test.ts')) files.push(path)
  }
  return files.sort()
}

function runFile(file: string): Promise<Count> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, wordsFor(file), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
      detached: true,
    })
    const began = Date.now()
    let output = ''
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      said += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    const timer = setTimeout(() => {
      said += `${basename(file)}: no end after ${FILE_TIME_MAX_MS / 1000} s, killed\n`
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    }, FILE_TIME_MAX_MS)
    child.on('close', (code) => {
      clearTimeout(timer)
      const seconds = ((Date.now() - began) / 1000).toFixed(1)
      process.stdout.write(`\n# ${file.slice(import.meta.dirname.length + 1)} (${seconds} s)\n${said}`)
      const total = Number(/Total:\s+(\d+)/.exec(output)?.[1] ?? 0)
      const passed = Number(/Passed:\s+(\d+)/.exec(output)?.[1] ?? 0)
      const skipped = output.split('\n').filter((line) => line.startsWith(SKIP_MARK)).length
      const failed = code === 0 ? total - passed : Math.max(total - passed, 1)
      resolve({ passed, failed, skipped, failure: failed > 0 ? retold(said) : '' })
    })
  })
}

/** From the first test that failed; of a file that never got to tests, the end. */
function retold(said: string): string {
  const from = said.indexOf('   FAIL  ')
  return from < 0 ? said.slice(-RETOLD_MAX) : said.slice(from, from + RETOLD_MAX)
}

const sum = { passed: 0, failed: 0, skipped: 0 }
const failures: string[] = []

/** One lane begins at the end: the folders go from tests that compute to clusters, which wait. */
async function runAll(files: string[], lanes: number): Promise<void> {
  const waiting = [...files]
  const lane = async (_: unknown, index: number): Promise<void> => {
    const next = () => (index > 0 && index === lanes - 1 ? waiting.pop() : waiting.shift())
    for (let file = next(); file !== undefined; file = next()) {
      const count = await runFile(file)
      if (count.failed > 0) failures.push(`FAILED: ${file}\n${count.failure}`)
      sum.passed += count.passed
      sum.failed += count.failed
      sum.skipped += count.skipped
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

// Node would read the machine's at each of a run's thousands of starts, for 80 ms of a processor; tests bring their own.
delete process.env.NODE_EXTRA_CA_CERTS
const only = process.env.BERTH_TEST_ONLY ?? ''
const lanes = Number(process.env.BERTH_TEST_LANES ?? Math.min(availableParallelism() + 1, LANES_MAX))
const testsOf = (folder: string) =>
  findTests(join(import.meta.dirname, folder)).filter((file) => file.includes(only))
const folders = process.argv.slice(2)
await compileTests()
await runAll(folders.filter((folder) => !ALONE.has(folder)).flatMap(testsOf), lanes)
await runAll(folders.filter((folder) => ALONE.has(folder)).flatMap(testsOf), 1)
for (const failure of failures) process.stdout.write(`\n${failure}\n`)
process.stdout.write(`\n${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`)
process.exitCode = sum.failed > 0 ? 1 : 0
