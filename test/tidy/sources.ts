// SPDX-License-Identifier: Apache-2.0
/** The files of the repository as git knows them, or as a plain walk finds them in an exported tree. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { extname, join, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '../..')
/** Larger files are data, not prose or code that a person reads. */
const BYTES_MAX = 512 * 1024

export interface Source {
  /** Relative to the root, with forward slashes. */
  path: string
  extension: string
  text: string
}

export interface Finding {
  path: string
  problem: string
  warning?: boolean
}

export function readSources(): Source[] {
  return listFiles()
    .filter((path) => existsSync(join(ROOT, path)))
    .filter((path) => statSync(join(ROOT, path)).isFile() && statSync(join(ROOT, path)).size <= BYTES_MAX)
    .map((path) => ({ path, extension: extname(path), text: readFileSync(join(ROOT, path), 'utf8') }))
}

function listFiles(): string[] {
  const git = spawnSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
  if (git.status === 0) return git.stdout.split('\n').filter((line) => line !== '')
  const prune = ['node_modules', 'dist', 'build', '.git'].flatMap((name) => ['-name', name, '-prune', '-o'])
  const found = spawnSync('find', ['.', ...prune, '-type', 'f', '-print'], { cwd: ROOT, encoding: 'utf8' })
  return found.stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.slice(2))
}
