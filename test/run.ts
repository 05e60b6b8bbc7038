// SPDX-License-Identifier: Apache-2.0
/**
 * Runs the test files below the named folders of test/, one process each and one after the other, so that a crash
 * or a leaked handle in one file cannot hide in another. Last line: `N passed, N failed, N skipped`.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { SKIP_MARK } from './suite.js'

/** One file may not hang the whole run: the slowest cluster file needs about two minutes on two cores. */
const FILE_TIME_MAX_MS = 300_000

interface Count {
  passed: number
  failed: number
  skipped: number
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
    const child = spawn(process.execPath, ['--import', 'tsx', file], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NO_COLOR: '1' },
      detached: true,
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      process.stdout.write(text)
    })
    const timer = setTimeout(() => {
      process.stdout.write(`${basename(file)}: no end after ${FILE_TIME_MAX_MS / 1000} s, killed\n`)
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    }, FILE_TIME_MAX_MS)
    child.on('close', (code) => {
      clearTimeout(timer)
      const total = Number(/Total:\s+(\d+)/.exec(output)?.[1] ?? 0)
      const passed = Number(/Passed:\s+(\d+)/.exec(output)?.[1] ?? 0)
      const skipped = output.split('\n').filter((line) => line.startsWith(SKIP_MARK)).length
      const failed = total - passed
      resolve({ passed, failed: code === 0 ? failed : Math.max(failed, 1), skipped })
    })
  })
}

const sum: Count = { passed: 0, failed: 0, skipped: 0 }
const failedFiles: string[] = []
const only = process.env.BERTH_TEST_ONLY ?? ''
for (const folder of process.argv.slice(2)) {
  for (const file of findTests(join(import.meta.dirname, folder))) {
    if (!file.includes(only)) continue
    process.stdout.write(`\n# ${file.slice(import.meta.dirname.length + 1)}\n`)
    const count = await runFile(file)
    if (count.failed > 0) failedFiles.push(file)
    sum.passed += count.passed
    sum.failed += count.failed
    sum.skipped += count.skipped
  }
}
for (const file of failedFiles) process.stdout.write(`FAILED: ${file}\n`)
process.stdout.write(`\n${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`)
process.exitCode = sum.failed > 0 ? 1 : 0
