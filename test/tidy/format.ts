// SPDX-License-Identifier: Apache-2.0
/** C and C++ look as .clang-format says, where clang-format is installed. */
import { spawnSync } from 'node:child_process'
import { type Finding, ROOT, type Source } from './sources.js'

const NATIVE = new Set(['.c', '.h', '.cc', '.hh'])

export function checkFormat(sources: readonly Source[]): Finding[] {
  const files = sources.filter(({ extension }) => NATIVE.has(extension)).map(({ path }) => path)
  if (files.length === 0) return []
  const seen = spawnSync('clang-format', ['--dry-run', '-Werror', ...files], { cwd: ROOT, encoding: 'utf8' })
  if (seen.error !== undefined)
    return [{ path: '.clang-format', problem: 'clang-format is not installed', warning: true }]
  const bad = new Set([...seen.stderr.matchAll(/^([^\s:]+):\d+:\d+: error/gm)].map((match) => match[1] ?? ''))
  return [...bad].map((path) => ({ path, problem: 'is not formatted; run clang-format -i' }))
}
